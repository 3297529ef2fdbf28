package cmd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// kube imitates as much of a Kubernetes API server as kubectl needs for
// ConfigMaps, with its optimistic locking, and a kubelet that brings them to the
// nodes late, as links (Kubernetes: "ConfigMaps", mounted ConfigMaps are updated
// automatically; the volume's ..data link is swapped).
type kube struct {
	t     *testing.T
	mu    sync.Mutex
	maps  map[string]map[string]any
	next  int
	nodes map[string]string // node → policy root
	late  time.Duration
	wg    sync.WaitGroup
}

func (k *kube) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	const maps = "/api/v1/namespaces/default/configmaps"
	status := http.StatusOK
	var answer any
	name := strings.TrimPrefix(strings.TrimPrefix(q.URL.Path, maps), "/")
	switch {
	case q.URL.Path == "/api":
		answer = map[string]any{"kind": "APIVersions", "versions": []string{"v1"}}
	case q.URL.Path == "/apis":
		answer = map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{}}
	case q.URL.Path == "/api/v1":
		answer = map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{
			map[string]any{"name": "configmaps", "singularName": "configmap", "namespaced": true, "kind": "ConfigMap", "verbs": []string{"create", "get", "list", "patch", "update"}},
			map[string]any{"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": []string{"get", "list"}}}}
	case q.URL.Path == "/api/v1/namespaces/default/pods":
		items := []any{}
		for n := range k.nodes {
			items = append(items, map[string]any{"kind": "Pod", "apiVersion": "v1", "metadata": map[string]any{"name": n, "namespace": "default"}})
		}
		answer = map[string]any{"kind": "PodList", "apiVersion": "v1", "metadata": map[string]any{}, "items": items}
	case q.URL.Path == maps && q.Method == http.MethodGet:
		items := []any{}
		for _, m := range k.maps {
			if m["metadata"].(map[string]any)["labels"] != nil {
				items = append(items, m)
			}
		}
		answer = map[string]any{"kind": "ConfigMapList", "apiVersion": "v1", "metadata": map[string]any{}, "items": items}
	case strings.HasPrefix(q.URL.Path, maps):
		status, answer = k.configMap(q, name)
	default:
		status, answer = http.StatusNotFound, problem(http.StatusNotFound, "NotFound", q.URL.Path+" not found")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

func problem(code int, reason, message string) any {
	return map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}
}

func (k *kube) configMap(q *http.Request, name string) (int, any) {
	var body map[string]any
	if q.Method != http.MethodGet {
		if err := json.NewDecoder(q.Body).Decode(&body); err != nil {
			return http.StatusBadRequest, problem(http.StatusBadRequest, "BadRequest", err.Error())
		}
	}
	if q.Method == http.MethodPost {
		name = body["metadata"].(map[string]any)["name"].(string)
		k.store(name, body)
		return http.StatusCreated, body
	}
	old, ok := k.maps[name]
	if !ok {
		return http.StatusNotFound, problem(http.StatusNotFound, "NotFound", fmt.Sprintf("configmaps %q not found", name))
	}
	switch q.Method {
	case http.MethodPut:
		if v := body["metadata"].(map[string]any)["resourceVersion"]; v != old["metadata"].(map[string]any)["resourceVersion"] {
			return http.StatusConflict, problem(http.StatusConflict, "Conflict", fmt.Sprintf("Operation cannot be fulfilled on configmaps %q: the object has been modified", name))
		}
		k.store(name, body)
		return http.StatusOK, body
	case http.MethodPatch:
		data, _ := old["data"].(map[string]any)
		if data == nil {
			data = map[string]any{}
		}
		for key, v := range body["data"].(map[string]any) {
			if v == nil {
				delete(data, key)
			} else {
				data[key] = v
			}
		}
		old["data"] = data
		k.store(name, old)
	}
	return http.StatusOK, k.maps[name]
}

func (k *kube) store(name string, m map[string]any) {
	k.next++
	meta := m["metadata"].(map[string]any)
	meta["resourceVersion"], meta["namespace"] = strconv.Itoa(k.next), "default"
	k.maps[name] = m
	labels, _ := meta["labels"].(map[string]any)
	tenant, ok := labels["tenant"].(string)
	if !ok {
		return
	}
	data := map[string]string{}
	for key, v := range m["data"].(map[string]any) {
		data[key] = v.(string)
	}
	version := meta["resourceVersion"].(string)
	late := k.late
	for _, root := range k.nodes {
		k.wg.Go(func() {
			time.Sleep(late)
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.maps[name]["metadata"].(map[string]any)["resourceVersion"] == version {
				mount(k.t, filepath.Join(root, tenant), "..v"+version, data)
			}
		})
	}
}

// mount brings data to a directory the way a kubelet does: a new directory, a new
// ..data link to it that takes the old one's name, and links to the files in it.
func mount(t *testing.T, dir, version string, data map[string]string) {
	for name, text := range data {
		put(t, filepath.Join(dir, version, name), text)
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			t.Error(err)
		}
	}
	if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Error(err)
	}
}

// TestConfigMapRecipe runs the script of the documentation with the real kubectl.
// API server, kubelet and pods are imitated; a pod is a directory, and what it
// runs is a copy that its router-ctl made at the last load.
func TestConfigMapRecipe(t *testing.T) {
	need(t, "kubectl", "jq", "sha256sum")
	bin, dir := buildCbops(t), t.TempDir()
	recipe(t, "configmap.md", "router-configmap", dir)
	recipePlan(t, "configmap.md", dir)
	k := &kube{t: t, maps: map[string]map[string]any{}, nodes: map[string]string{}, late: 0}
	for _, n := range []string{"router-0", "router-1"} {
		k.nodes[n] = filepath.Join(dir, n, "mount")
	}
	server := httptest.NewServer(k)
	defer server.Close()
	k.mu.Lock()
	for _, tenant := range []string{"t-acme", "t-bolt"} {
		k.store("policies-"+tenant, map[string]any{"kind": "ConfigMap", "apiVersion": "v1",
			"metadata": map[string]any{"name": "policies-" + tenant, "labels": map[string]any{"app": "router-policies", "tenant": tenant}},
			"data":     map[string]any{"chat.json": enabledPolicy, "embed.json": enabledPolicy}})
	}
	k.mu.Unlock()
	k.wg.Wait()
	// In a pod, /etc/router/policies and router-ctl; here both are the node's own.
	onNode := filepath.Join(dir, "on-node")
	put(t, onNode, `#!/bin/sh
# on-node NODE -- COMMAND: what kubectl exec does, for a node that is a directory.
node=$1; shift 2
[ "$1" != sha256sum ] || { shift; exec sha256sum "`+dir+`/$node/mount/${1#/etc/router/policies/}"; }
[ "$1" = router-ctl ] || exec "$@"
mkdir -p "`+dir+`/$node/memory/$3"
case $2 in
load) cp "`+dir+`/$node/mount/$3/$4.json" "`+dir+`/$node/memory/$3/$4.json" ;;
show) cat "`+dir+`/$node/memory/$3/$4.json" ;;
esac
`)
	if err := os.Chmod(onNode, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ON_NODE", onNode)
	t.Setenv("KUBECTL_FLAGS", "--server "+server.URL+" --namespace default --cache-dir "+filepath.Join(dir, "cache"))
	t.Setenv("KUBECONFIG", filepath.Join(dir, "no-config"))
	t.Setenv("MOUNT_PAUSE", "0.1")
	memory := func(node, policy string) string {
		b, _ := os.ReadFile(filepath.Join(dir, node, "memory", policy+".json"))
		return string(b)
	}
	for n, root := range k.nodes {
		for _, p := range []string{"t-acme/chat", "t-acme/embed"} {
			b, err := os.ReadFile(filepath.Join(root, p+".json"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, filepath.Join(dir, n, "memory", p+".json"), string(b))
		}
	}
	// The mounts change two seconds after the ConfigMap: a reload before that would
	// load the old bytes, and the copy below would say enabled.
	k.mu.Lock()
	k.late = 2 * time.Second
	k.mu.Unlock()
	start := time.Now()
	code, out, errs := runCbops(t, bin, dir, "rollback", "tenant", "t-acme", "--reason", "INC-7", "--yes", "--settle", "0s")
	if code != 0 || !strings.Contains(flat(out), "4 of 4 disabled and proven loaded") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	if took := time.Since(start); took < 2*time.Second {
		t.Errorf("took %s: it did not wait for the mounts", took)
	}
	for n := range k.nodes {
		if m := memory(n, "t-acme/chat"); !strings.Contains(m, `"enabled":false`) {
			t.Errorf("%s runs %s", n, m)
		}
	}
	// The hold lies in the cluster: another machine, with a state of its own, is held.
	if err := os.RemoveAll(filepath.Join(dir, ".cbops")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "on.json"), `{"circuit_breaker":{"enabled":true}}`)
	code, out, errs = runCbops(t, bin, dir, "apply", "-f", "on.json", "--tenant", "t-acme", "--policy", "chat", "--yes")
	if code != 1 || !strings.Contains(errs, "INC-7") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if code, out, errs = runCbops(t, bin, dir, "resume", "tenant", "t-acme", "--reason", "fixed"); code != 0 {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if code, out, errs = runCbops(t, bin, dir, "apply", "-f", "on.json", "--tenant", "t-acme", "--policy", "chat", "--yes"); code != 0 || !strings.Contains(memory("router-1", "t-acme/chat"), `"enabled":true`) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	// A mount that never changes is a failure, not a success on old bytes.
	t.Setenv("MOUNT_TRIES", "5")
	k.mu.Lock()
	k.late = time.Hour
	k.nodes = map[string]string{"router-0": k.nodes["router-0"]}
	k.mu.Unlock()
	defer func() { k.late = 0 }()
	code, out, errs = runCbops(t, bin, dir, "rollback", "policy", "t-acme/chat", "--yes", "--settle", "0s")
	if code != 5 || !strings.Contains(flat(out), "the mount still has other bytes") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
}
