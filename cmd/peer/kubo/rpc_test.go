package kubo

import (
	"testing"
)

func TestRPC_RefusalIsNamed(t *testing.T) {
	t.Parallel()
	cfg := testConfig(t)
	madeRepo(t, cfg)
	editKubo(t, cfg, "API.Authorizations", `{"me": {"AuthSecret": "basic:me:x", "AllowedPaths": ["/api/v0"]}}`)
	n := startNode(t, cfg)
	awaitError(t, n, "refuses", "API.Authorizations")
}
