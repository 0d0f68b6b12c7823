package kubo

import (
	"errors"
	"os"
)

// askToStop: there are no signals here that Kubo listens to; its RPC is asked
// instead where it is known.
func askToStop(*os.Process) error { return errors.ErrUnsupported }
