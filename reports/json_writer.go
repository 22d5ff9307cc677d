package reports

import (
	"bytes"
	"io"
)

// jsonWriter writes a JSON document whose lists have one element a line: a
// difference between two reports is then a difference between lines.
type jsonWriter struct {
	out   io.Writer
	text  bytes.Buffer // not yet written
	empty bool         // nothing yet at this level
}

func newJSONWriter(w io.Writer) *jsonWriter { return &jsonWriter{out: w, empty: true} }

// open starts an object or list.
func (j *jsonWriter) open(bracket string) {
	j.text.WriteString(bracket)
	j.empty = true
}

// next starts a line for another member or element.
func (j *jsonWriter) next(indent string) {
	if !j.empty {
		j.text.WriteByte(',')
	}
	j.text.WriteString("\n" + indent)
	j.empty = false
}

// close ends an object or list; an empty one stays on its line.
func (j *jsonWriter) close(indent, bracket string) {
	if !j.empty {
		j.text.WriteString("\n" + indent)
	}
	j.text.WriteString(bracket)
	j.empty = false
}

// value writes a value on the line that was started.
func (j *jsonWriter) value(value any) error {
	text, err := jsonText(value)
	if err != nil {
		return err
	}
	j.text.Write(text)
	if j.text.Len() < 64<<10 {
		return nil
	}
	return j.flush()
}

func (j *jsonWriter) flush() error {
	_, err := j.text.WriteTo(j.out)
	return err
}

// end writes the final newline and what is buffered.
func (j *jsonWriter) end() error {
	j.text.WriteByte('\n')
	return j.flush()
}

// item writes one member of an object inside a list.
func (j *jsonWriter) item(key string, value any) error {
	j.next("      ")
	j.text.WriteString(`"` + key + `": `)
	return j.value(value)
}
