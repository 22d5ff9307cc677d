package eval

import "sync"

// Keep makes a set that judges job after job in one sandbox, as long as that
// lives, for starting one and reading the packs takes longer than to judge a few
// hundred tokens. Whoever keeps must leave.
func (s *Set) Keep() (kept *Set, leave func()) {
	changed := *s
	changed.idle = &idle{}
	return &changed, changed.idle.leave
}

// idle is a place for a sandbox that has read the packs of a set and has nothing
// in hand. A nil one keeps none.
type idle struct {
	mu    sync.Mutex
	child *child
}

// take gives the sandbox that waits; nil: none does.
func (i *idle) take() *child {
	if i == nil {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.child
	i.child = nil
	return c
}

// put keeps a sandbox, unless another waits already.
func (i *idle) put(c *child) {
	if i != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.child == nil {
			i.child, c = c, nil
		}
	}
	if c != nil {
		c.kill()
	}
}

func (i *idle) leave() {
	if c := i.take(); c != nil {
		c.kill()
	}
}
