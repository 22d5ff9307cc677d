// Command bench measures patrol as whole processes: wall time, processor time
// and peak memory of each step of an audit of a simulated account; then the
// same six rules by patrol, by opa eval and by conftest test on the same
// tokens, which must all find the same. It prints tables, and ratios within the
// one run.
package main
