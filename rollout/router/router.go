// Package router is every way in which cbops reaches a router: where its policies
// lie, and how its nodes are made to read them and to show what they run.
//
// There are three kinds of target, in files of their own: a directory with a
// reload and a verify command (dir.go, dirstore.go, commands.go), programs of the
// operator's that speak JSON, one per verb (exec.go, execstore.go, execnode.go),
// and the router's HTTP admin API (admin.openapi.yaml, client.go, httpstore.go,
// httpnode.go). They list, read, write, reload and show; they decide nothing: what
// to write, whether it may be written, and what is proven is rollout/change.
package router

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/cbops/cbops/rollout/policy"
)

// Ref names a policy: the ids are those of the path, never those in the file.
type Ref struct{ Tenant, Policy string }

// String is "tenant/policy", as the command line takes it.
func (r Ref) String() string { return r.Tenant + "/" + r.Policy }

// Valid reports whether both ids can be names of files at all.
func (r Ref) Valid() bool { return policy.ValidID(r.Tenant) && policy.ValidID(r.Policy) }

// Compare orders refs by tenant, then policy.
func (r Ref) Compare(o Ref) int {
	if c := strings.Compare(r.Tenant, o.Tenant); c != 0 {
		return c
	}
	return strings.Compare(r.Policy, o.Policy)
}

// Stored is a policy as a store has it.
type Stored struct {
	Bytes []byte
	// Version is the store's own word for these bytes (an ETag, a resource
	// version); "" where it has none.
	Version string
}

// Edit is a policy that is about to be changed.
type Edit struct {
	Ref Ref
	// Known is what was read of it before; nil where that was not kept. A store
	// that compares versions starts from it, another reads anew.
	Known *Stored
}

// Editor makes a policy's new bytes of its present ones. The same bytes mean that
// nothing is to be written. A store may call it again when somebody else changed
// the policy in between.
type Editor func(r Ref, now []byte) ([]byte, error)

// Wanted is a policy that a node is to read, and the digest of the bytes that it
// must find: where files arrive late, a reload before that would "succeed" on the
// old ones.
type Wanted struct {
	Ref    Ref
	Digest string
}

// Loaded is what a node showed of a policy that it runs.
type Loaded struct {
	// Answer is the JSON in which its circuit_breaker stands; empty where the node
	// only says yes.
	Answer []byte
	// Strict says that an answer without a circuit_breaker means a policy without
	// one. Otherwise it says nothing, and the node's word alone is the proof.
	Strict bool
	// Proof says in words what the node did to prove it.
	Proof string
}

// Circuit is a circuit in a node's memory.
type Circuit struct {
	Tenant   string `json:"tenant"`
	Provider string `json:"provider"`
	// State is closed, open or half_open.
	State string `json:"state"`
	// Since is when it changed, RFC 3339; "" where the node does not say.
	Since string `json:"since,omitempty"`
}

// Closed reports whether the circuit lets everything through.
func (c Circuit) Closed() bool { return c.State == "closed" }

// CircuitKey names a circuit of a node.
type CircuitKey struct {
	Tenant   string `json:"tenant"`
	Provider string `json:"provider"`
}

// Capabilities are what a node can do. They are asked for, never assumed.
type Capabilities struct {
	// Reload: it can be made to read a policy. Whole says that this makes it read
	// every policy, so that a malformed one crashes its policy store.
	Reload, Whole bool
	// Loaded: it can show what it runs. Circuits and Reset: it can show its
	// circuits, and close one for good. Flag: it has a global switch.
	Loaded, Circuits, Reset, Flag bool
}

// UnreachableError is the error of a node or store that could not be asked at all:
// what it runs is not known.
type UnreachableError struct{ Err error }

// Error implements error.
func (u *UnreachableError) Error() string { return u.Err.Error() }

// Unwrap lets errors.Is and errors.As look through.
func (u *UnreachableError) Unwrap() error { return u.Err }

func unreachable(format string, args ...any) error {
	return &UnreachableError{fmt.Errorf(format, args...)}
}

// ChangedError is the refusal of a write over bytes that nobody has seen.
type ChangedError struct{ Path string }

// Error implements error.
func (c *ChangedError) Error() string { return c.Path + " changes faster than it can be written" }

// Digest is how cbops names bytes: "sha256:" and the hexadecimal sum.
func Digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Listing is what a store holds.
type Listing struct {
	// Refs are its policies, sorted; malformed ones are among them.
	Refs []Ref
	// Tenants are its tenants, sorted, those without a policy too.
	Tenants []string
}
