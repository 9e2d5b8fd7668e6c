package sample

import (
	"fmt"
	"testing"
)

func TestPasses(t *testing.T) { fmt.Println("printed by a pass") }

func TestFails(t *testing.T) {
	t.Log("said before")
	t.Errorf("got %d, want %d", 1, 2)
}

func TestSkipped(t *testing.T) { t.Skip("no net") }

func TestTable(t *testing.T) {
	for _, name := range []string{"plain", "with space", "größer", "a/b"} {
		t.Run(name, func(t *testing.T) {
			if name == "größer" {
				t.Fatal("too large")
			}
		})
	}
}

func TestParallel(t *testing.T) {
	for _, name := range []string{"one", "two"} {
		name := name
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Log("in", name)
		})
	}
}

func ExampleSum() {
	fmt.Println(1 + 1)
	// Output: 2
}

func BenchmarkNothing(b *testing.B) {}
