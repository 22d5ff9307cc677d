package simulator

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"io"
	"strconv"
)

// tokenFormat writes rows by hand: a list of a million is sent as it is made.
type tokenFormat struct {
	workspace int64
	strings   bool
}

func (f tokenFormat) writeList(w io.Writer, rows []*token) error {
	out := bufio.NewWriterSize(w, 64<<10)
	if _, err := out.WriteString(`{"token_infos":[`); err != nil {
		return err
	}
	var row []byte
	for i, t := range rows {
		row = row[:0]
		if i > 0 {
			row = append(row, ',')
		}
		row = f.append(row, t)
		if _, err := out.Write(row); err != nil {
			return err
		}
	}
	if _, err := out.WriteString(`]}`); err != nil {
		return err
	}
	return out.Flush()
}

func (f tokenFormat) append(b []byte, t *token) []byte {
	if t.raw != nil {
		return append(b, t.raw...)
	}
	b = append(b, `{"token_id":"`...)
	b = hex.AppendEncode(b, t.id[:])
	b = f.appendInt(append(b, `","creation_time":`...), t.created)
	b = f.appendInt(append(b, `,"expiry_time":`...), t.expires)
	b = appendString(append(b, `,"comment":`...), t.comment)
	b = f.appendInt(append(b, `,"created_by_id":`...), t.creator.id)
	b = appendString(append(b, `,"created_by_username":`...), t.creator.name)
	b = f.appendInt(append(b, `,"owner_id":`...), t.owner)
	b = f.appendInt(append(b, `,"workspace_id":`...), f.workspace)
	if t.lastUsed != 0 {
		b = f.appendInt(append(b, `,"last_used_day":`...), t.lastUsed)
	}
	s := t.scoping
	if s == nil {
		s = &scoping{}
	}
	// A current workspace tells the scopes of every token, also that there are none.
	b = appendStrings(append(b, `,"scopes":`...), s.scopes)
	b = appendString(append(b, `,"autoscope_state":`...), cmp.Or(s.state, "AUTOSCOPE_STATE_UNSPECIFIED"))
	if len(s.inferred) > 0 {
		b = appendStrings(append(b, `,"inferred_scopes":`...), s.inferred)
	}
	if len(s.backfill) > 0 {
		b = appendStrings(append(b, `,"backfill_scopes":`...), s.backfill)
	}
	return append(b, '}')
}

func (f tokenFormat) appendInt(b []byte, v int64) []byte {
	if !f.strings {
		return strconv.AppendInt(b, v, 10)
	}
	b = strconv.AppendInt(append(b, '"'), v, 10)
	return append(b, '"')
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendString quotes s as JSON. Bytes above ASCII go out as they are, invalid
// UTF-8 included: what was stored is what a client must cope with.
func appendString(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		ch := s[i]
		if ch >= ' ' && ch != '"' && ch != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', digits[ch>>4], digits[ch&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}
