package broken

import "testing"

func TestNoCompile(t *testing.T) { undefined() }
