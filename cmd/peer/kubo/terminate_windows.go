package kubo

import (
	"errors"
	"os"
)

// requestStop is not supported: Kubo handles no signals here. Its RPC is used
// instead where the address is known.
func requestStop(*os.Process) error { return errors.ErrUnsupported }
