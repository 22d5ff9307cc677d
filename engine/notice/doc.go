// Package notice writes to the owners of tokens what a plan has in store for
// them: one message each, as Markdown and as a mail that is ready to send.
// patrol sends nothing by itself.
//
// The text comes from a template that the user can replace. It is text/template
// and not html/template, because Markdown is no HTML: every value that it is
// given has gone through SafeText and has its Markdown escaped, so that a
// comment or a name cannot become a link or a header.
package notice
