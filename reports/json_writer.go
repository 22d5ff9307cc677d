package reports

import (
	"bufio"
	"io"
)

// jsonWriter writes a JSON document whose lists have one element a line: a
// difference between two reports is then a difference between lines.
type jsonWriter struct {
	out   *bufio.Writer
	empty bool // nothing written yet at this level
}

func newJSONWriter(w io.Writer) *jsonWriter {
	return &jsonWriter{out: bufio.NewWriterSize(w, 64<<10), empty: true}
}

// open starts an object or list.
func (j *jsonWriter) open(bracket string) {
	j.out.WriteString(bracket)
	j.empty = true
}

// next starts a line for another member or element.
func (j *jsonWriter) next(indent string) {
	if !j.empty {
		j.out.WriteByte(',')
	}
	j.out.WriteString("\n" + indent)
	j.empty = false
}

// close ends an object or list; an empty one stays on its line.
func (j *jsonWriter) close(indent, bracket string) {
	if !j.empty {
		j.out.WriteString("\n" + indent)
	}
	j.out.WriteString(bracket)
	j.empty = false
}

// value writes a value on the line that was started.
func (j *jsonWriter) value(value any) error {
	text, err := jsonText(value)
	if err != nil {
		return err
	}
	_, err = j.out.Write(text) // a bufio.Writer keeps its first error
	return err
}

// end writes the final newline and what is buffered.
func (j *jsonWriter) end() error {
	j.out.WriteByte('\n')
	return j.out.Flush()
}
