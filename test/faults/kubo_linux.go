package faults

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// kubo is the RPC of an IPFS node.
type kubo struct {
	repo string
	http *http.Client
}

// kubo is the RPC of the peer's managed node.
func (n *node) kubo() kubo { return kubo{repo: n.repo.path, http: n.http} }

// kuboPID is the process of the managed node.
func (n *node) kuboPID() (int, error) {
	raw, err := os.ReadFile(filepath.Join(n.repo.path, "managed.pid"))
	if err != nil {
		return 0, err
	}
	var file struct{ PID int }
	return file.PID, json.Unmarshal(raw, &file)
}

// killKubo ends the managed node; the daemon starts it again.
func (n *node) killKubo() error {
	pid, err := n.kuboPID()
	if err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// call sends a command to the RPC. The caller closes the body.
func (k kubo) call(ctx context.Context, command string, args url.Values, contentType string, body io.Reader) (*http.Response, error) {
	raw, err := os.ReadFile(filepath.Join(k.repo, "api"))
	if err != nil {
		return nil, err
	}
	addr, err := multiaddr.NewMultiaddr(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, err
	}
	_, hostPort, err := manet.DialArgs(addr)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+hostPort+"/api/v0/"+command+"?"+args.Encode(), body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := k.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, fmt.Errorf("%s: %d %s", command, resp.StatusCode, text)
	}
	return resp, nil
}

// emptyDirectory is pinned in every repo that Kubo makes.
const emptyDirectory = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"

// pins are the canonical CIDs that the node has pinned recursively, but for Kubo's own.
func (k kubo) pins(ctx context.Context) (map[string]bool, error) {
	resp, err := k.call(ctx, "pin/ls", url.Values{"type": {"recursive"}, "stream": {"true"}}, "", nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	pins := map[string]bool{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var line struct{ Cid, Message string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, err
		}
		if line.Cid == "" {
			return nil, fmt.Errorf("pin/ls: %s", lines.Bytes())
		}
		if line.Cid != emptyDirectory {
			pins[canonical(line.Cid)] = true
		}
	}
	// An error after the beginning of the answer is in the trailer.
	if text := resp.Trailer.Get("X-Stream-Error"); text != "" {
		return nil, errors.New("pin/ls: " + text)
	}
	return pins, lines.Err()
}

// collectGarbage removes all blocks that are not pinned.
func (k kubo) collectGarbage(ctx context.Context) error {
	resp, err := k.call(ctx, "repo/gc", nil, "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// add adds content and returns its CID.
func (k kubo) add(ctx context.Context, content []byte, options url.Values) (string, error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "content")
	if err != nil {
		return "", err
	}
	if _, err := part.Write(content); err != nil {
		return "", err
	}
	if err := form.Close(); err != nil {
		return "", err
	}
	resp, err := k.call(ctx, "add", options, form.FormDataContentType(), &body)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var added struct{ Hash string }
	return added.Hash, json.NewDecoder(resp.Body).Decode(&added)
}

// id is the node's ID.
func (k kubo) id(ctx context.Context) (string, error) {
	resp, err := k.call(ctx, "id", nil, "", nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var id struct{ ID string }
	return id.ID, json.NewDecoder(resp.Body).Decode(&id)
}
