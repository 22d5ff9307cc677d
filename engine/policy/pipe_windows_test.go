package policy

import "errors"

func makePipe(string) error { return errors.New("there are none") }
