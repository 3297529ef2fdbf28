package router

import (
	_ "embed"
	"encoding/json"
)

// adminAPI is the contract of the HTTP admin API.
//
//go:embed admin.openapi.yaml
var adminAPI string

// AdminAPI is the OpenAPI document of the admin API, in YAML: what the client here
// speaks and the practice router serves.
func AdminAPI() string { return adminAPI }

// The capabilities that a node may have in the admin API.
const (
	CanPolicies = "policies"
	CanReload   = "reload"
	CanLoaded   = "loaded"
	CanCircuits = "circuits"
	CanReset    = "reset"
	CanSwitch   = "switch"
	CanHolds    = "holds"
)

// APINode is the answer of GET /admin/node.
type APINode struct {
	Node         string   `json:"node"`
	Healthy      bool     `json:"healthy"`
	Version      string   `json:"version,omitempty"`
	Capabilities []string `json:"capabilities"`
}

// APIPolicy is a stored policy.
type APIPolicy struct {
	Tenant string `json:"tenant"`
	Policy string `json:"policy"`
	ETag   string `json:"etag"`
	// Document are the bytes, base64 in JSON.
	Document []byte `json:"document,omitempty"`
}

// APIPolicies is a page of GET /admin/policies.
type APIPolicies struct {
	Policies []APIPolicy `json:"policies"`
	Next     string      `json:"next,omitempty"`
}

// APILoaded is a policy in a node's memory.
type APILoaded struct {
	Tenant  string          `json:"tenant"`
	Policy  string          `json:"policy"`
	ETag    string          `json:"etag,omitempty"`
	Breaker json.RawMessage `json:"circuit_breaker,omitempty"`
}

// APILoadedPage is a page of GET /admin/loaded.
type APILoadedPage struct {
	Loaded []APILoaded `json:"loaded"`
	Next   string      `json:"next,omitempty"`
}

// APICircuits is the answer of GET /admin/circuits.
type APICircuits struct {
	Circuits []Circuit `json:"circuits"`
}

// APIReset is the body of POST /admin/circuits/reset.
type APIReset struct {
	Circuits []CircuitKey `json:"circuits"`
}

// APISwitch is the answer of GET /admin/circuit-breaker.
type APISwitch struct {
	Enabled *bool `json:"enabled"`
}

// APIHold is a hold as the node keeps it.
type APIHold struct {
	ID      string `json:"id"`
	Content []byte `json:"content"`
}

// APIHolds is the answer of GET /admin/holds.
type APIHolds struct {
	Holds []APIHold `json:"holds"`
}

// APIProblem is the body of every refusal.
type APIProblem struct {
	Error string `json:"error"`
}

// ETag is a digest as the API quotes it.
func ETag(digest string) string { return `"` + digest + `"` }
