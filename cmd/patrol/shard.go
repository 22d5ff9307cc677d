package main

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"patrol/collectors"
)

// shardValue is a flag that holds which part of the workspaces to read: i/n,
// from 0/n to n-1/n, as schedulers number the pods of a job. The zero value is
// all of them.
type shardValue struct{ index, count int }

func (s *shardValue) String() string {
	if s.count == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.index, s.count)
}

func (s *shardValue) Set(text string) error {
	index, count, _ := strings.Cut(text, "/")
	i, errIndex := strconv.Atoi(index)
	n, errCount := strconv.Atoi(count)
	if errIndex != nil || errCount != nil || n < 1 || i < 0 || i >= n {
		return fmt.Errorf("%q is no shard such as 0/8, the first of eight, or 7/8, the last", text)
	}
	*s = shardValue{i, n}
	return nil
}

func (s *shardValue) Type() string { return "shard" }

// of keeps the workspaces of this shard. Which shard a workspace is in depends
// on its id and the number of shards alone, so that others come and go without
// moving it; one whose id is not known before it is read goes by its name.
func (s *shardValue) of(targets []collectors.Target) []collectors.Target {
	if s.count == 0 {
		return targets
	}
	var mine []collectors.Target
	for _, target := range targets {
		key := target.WorkspaceID
		if key == "" {
			key = target.Label()
		}
		sum := fnv.New64a()
		sum.Write([]byte(key))
		if sum.Sum64()%uint64(s.count) == uint64(s.index) { //nolint:gosec // neither is negative
			mine = append(mine, target)
		}
	}
	return mine
}
