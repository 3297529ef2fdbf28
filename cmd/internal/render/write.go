package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"
)

// APIVersion is the version of every machine-readable document of cbops.
const APIVersion = "cbops/v1"

// Meta heads every machine-readable document.
type Meta struct {
	APIVersion string `json:"apiVersion" yaml:"apiVersion"`
	Kind       string `json:"kind" yaml:"kind"`
}

// NewMeta returns the head of a document of the given kind.
func NewMeta(kind string) Meta { return Meta{APIVersion: APIVersion, Kind: kind} }

// Format is an output format.
type Format string

// The formats of -o.
const (
	Text     Format = "text"
	JSON     Format = "json"
	YAML     Format = "yaml"
	Markdown Format = "markdown"
	JUnit    Format = "junit"
	GitHub   Format = "github"
)

// ParseFormat reads the argument of -o.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case Text, JSON, YAML, Markdown, JUnit, GitHub:
		return f, nil
	case "":
		return Text, nil
	}
	return "", fmt.Errorf("unknown output format %q: one of text, json, yaml, markdown, junit, github", s)
}

// Options say how to show a document.
type Options struct {
	Format Format
	// Color switches colour on in text.
	Color bool
	// ASCII replaces symbols outside ASCII.
	ASCII bool
	// Width is the terminal's width in columns; 0 means 80.
	Width int
	// Exit is the exit code that the command is about to return; text shows it
	// when it is not 0.
	Exit int
}

// Write shows a document on w in one call to w.Write, so that a reader never
// sees half of it.
func Write(w io.Writer, doc Document, opt Options) error {
	b, err := Bytes(doc, opt)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// Bytes is what Write writes.
func Bytes(doc Document, opt Options) ([]byte, error) {
	switch opt.Format {
	case JSON:
		return jsonBytes(doc)
	case YAML:
		return yamlBytes(doc)
	case Markdown:
		return []byte(markdown(doc.Page(), opt)), nil
	case JUnit:
		return junit(doc.Page())
	case GitHub:
		return []byte(github(doc.Page())), nil
	default:
		return []byte(text(doc.Page(), opt)), nil
	}
}

func jsonBytes(doc Document) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("cannot encode the result as JSON: %w", err)
	}
	return buf.Bytes(), nil
}

// yamlBytes goes by way of JSON, so that names and omissions are the same in
// both; JSON is YAML, and only its style is changed.
func yamlBytes(doc Document) ([]byte, error) {
	b, err := jsonBytes(doc)
	if err != nil {
		return nil, err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(b, &node); err != nil {
		return nil, fmt.Errorf("cannot encode the result as YAML: %w", err)
	}
	blockStyle(&node)
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return nil, fmt.Errorf("cannot encode the result as YAML: %w", err)
	}
	return buf.Bytes(), nil
}

func blockStyle(n *yaml.Node) {
	if len(n.Content) > 0 {
		n.Style = 0
	} else if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		// Quotes stay where the plain word would mean something else.
		n.Style = 0
		if strings.ContainsAny(n.Value, "\n") {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		blockStyle(c)
	}
}
