//go:build race

package history

// Raced: built with the race detector, which makes long histories take eight times as
// long; nothing in them is concurrent.
const Raced = true
