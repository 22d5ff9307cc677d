package engine

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// SortedKeys returns the keys of a map in ascending order, for output that
// must not depend on the order of maps.
func SortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// Plugins returns the values that the methods of set build, in the order of
// the methods' names. A plugin (collector, report format, remedy, command) is
// one file that adds one method to its package's set, so that nothing keeps a
// list of plugins and nothing can forget one. It panics if a method takes
// arguments or gives another type: a mistake that the first test run finds.
func Plugins[T any](set any) []T {
	value := reflect.ValueOf(set)
	plugins := make([]T, 0, value.NumMethod())
	for i := range value.NumMethod() {
		build, ok := value.Method(i).Interface().(func() T)
		if !ok {
			panic("engine.Plugins: " + value.Type().String() + "." + value.Type().Method(i).Name + " does not build the plugin's type")
		}
		plugins = append(plugins, build())
	}
	return plugins
}
