// Package render turns results into bytes. Every result value is rendered from
// one place: JSON and YAML from the value itself, and text, Markdown, JUnit and
// GitHub annotations from the Page that the same value makes, so that no two
// formats can disagree. This is the one package that knows colour, symbols and
// width. It decides nothing and reads no clock.
package render

// Document is a result that can be shown. The value itself is marshalled for
// JSON and YAML (its fields carry apiVersion and kind); Page is its human form.
type Document interface {
	Page() Page
}

// Mark is a verdict as a reader sees it. The words carry the meaning; the
// symbol and the colour only help.
type Mark int

// The marks, from quiet to loud.
const (
	None    Mark = iota // no symbol
	Good                // ✓ passes
	Wait                // … inconclusive, time will tell
	Stuck               // ! inconclusive, time will not tell; a warning
	Unknown             // ? not measurable
	Bad                 // ✗ fails
)

// Page is the human form of a result: answer first, evidence under it, next
// command last.
type Page struct {
	// Name is the suite name in JUnit, the title in Markdown: "loadtest".
	Name string
	// Answer is the first line: what the reader came for.
	Answer string
	// Verdict marks the answer in formats that show one.
	Verdict Mark
	// Context is the line under the answer: environment, tenant, interval.
	Context string
	// Aside is one more line under it, of something that changes no verdict.
	Aside string
	// Rows are one line each: the exceptions-first table. They are also the
	// test cases of JUnit and the checks of GitHub annotations.
	Rows []Row
	// Matrix, when set, shows subjects against rows.
	Matrix *Matrix
	// Sections explain rows that did not pass.
	Sections []Section
	// Stated is what people said that bears on the answer, a line each. It stands in
	// every format, also in those that show no sections.
	Stated []string
	// Notes are lines of their own after the sections.
	Notes []string
	// Next are the commands to paste, most likely first.
	Next []string
	// Verbatim, when set, is printed as it is, after control characters are
	// removed, in place of Rows and Sections: a diff, a ticket.
	Verbatim string
	// Raw, when set, is all that text prints, byte for byte: a patch to be piped.
	Raw string
	// Markdown, when set, is the whole document in the markdown format.
	Markdown string
}

// Row is one line of a page.
type Row struct {
	Mark Mark
	Name string
	Text string
	// Place is file:line:column where the row speaks of a document, else empty.
	Place string
	// Detail is shown where there are no sections: in JUnit and in annotations.
	Detail []string
	// Notice: it passes in a way that a reader must know of; formats that show only
	// exceptions show it too.
	Notice bool
	// Seconds is the row's duration for JUnit; 0 if not measured.
	Seconds float64
}

// Section is a titled block, under the row that it explains.
type Section struct {
	Mark  Mark
	Title string
	Lines []string
	// Pastes are there to be copied: they are never wrapped.
	Pastes []Paste
	Hints  []string
}

// Paste is a query or a line of a file, and what it is for. Text is empty where an
// earlier section has it.
type Paste struct{ Lead, Shows, Text string }

// Matrix is a table of marks.
type Matrix struct {
	// Note stands over it: which columns are left out.
	Note    string
	Columns []string
	Rows    []MatrixRow
}

// MatrixRow has a mark for each column.
type MatrixRow struct {
	Name  string
	Marks []Mark
}
