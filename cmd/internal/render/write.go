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
	// SVG is for documents with a picture (Drawing), and no other.
	SVG Format = "svg"
)

// ParseFormat reads the argument of -o.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case Text, JSON, YAML, Markdown, JUnit, GitHub, SVG:
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
	case SVG:
		d, ok := doc.(Drawing)
		if !ok {
			return nil, fmt.Errorf("this result has no picture")
		}
		return d.SVG()
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

// yamlBytes goes by way of JSON, so that names, order and omissions are the same
// in both.
func yamlBytes(doc Document) ([]byte, error) {
	b, err := jsonBytes(doc)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	node, err := yamlNode(dec)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the result as YAML: %w", err)
	}
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	if err := enc.Encode(node); err != nil {
		return nil, fmt.Errorf("cannot encode the result as YAML: %w", err)
	}
	return buf.Bytes(), nil
}

// yamlNode reads one JSON value. YAML's own parser does not take all of JSON:
// raw control characters such as U+007F and keys of more than 1024 characters.
func yamlNode(dec *json.Decoder) (*yaml.Node, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch v := t.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v == '{' {
			n.Kind = yaml.MappingNode
		}
		for dec.More() { // in an object, keys and values take turns
			child, err := yamlNode(dec)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := dec.Token()
		return n, err
	case string:
		n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v}
		if !plainYAML(v) {
			n.Style = yaml.DoubleQuotedStyle
		}
		return n, nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: "null"}, nil
	default: // bool, json.Number
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}, nil
	}
}

// plainYAML reports whether a string needs no quotes in any YAML: a letter first,
// nothing that structures a document, and no word that YAML 1.1 takes for a
// bool or a null.
func plainYAML(s string) bool {
	switch strings.ToLower(s) {
	case "", "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return false
	}
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789 _-./(),", r)) {
			return false
		}
	}
	return !strings.HasSuffix(s, " ")
}
