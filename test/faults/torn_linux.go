package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pinsvc/ipfs-cluster-pinsvc/internal/backoff"
)

// tear ends a peer in the middle of a write of its store as a power failure does: what it had
// written to the log since the last sync is lost in part. Raft's log is not torn: bolt writes
// pages in the middle of its file, and what they held before is not known here.
func (r *runner) tear(ctx context.Context, n *node, wait time.Duration) error {
	return r.exclusive(n, func() error {
		n.unexpect()
		lost, err := killBeforeSync(watch{n.pid(), n.dir, n.repo.path, watchedFor})
		if err != nil {
			n.expect()
			return err
		}
		// The time is by chance, and of the seed: so is what is left of the write.
		err = errors.Join(n.kill(), lost.cut(lost.From+int64(wait)%(lost.To-lost.From)))
		r.log("%s lost a part of the last %d bytes of %s", n.name, lost.To-lost.From, lost.Path)
		backoff.Sleep(ctx, wait)
		return errors.Join(err, n.start())
	})
}

// unsynced is the part of a file that a killed process had written and not synced.
type unsynced struct {
	Path     string
	From, To int64
}

// cut loses what was written after an offset. Behind the end of what was written there may be
// old content of a file that is used again; that stays.
func (u unsynced) cut(at int64) error {
	info, err := os.Stat(u.Path)
	if err != nil {
		return err
	}
	if info.Size() <= u.To {
		return os.Truncate(u.Path, at)
	}
	f, err := os.OpenFile(u.Path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, u.To-at), at)
	return errors.Join(err, f.Close())
}

// watchEnv has the watch that this binary is to carry out, instead of anything else. The one that
// traces a process is not its parent: whoever waits for its child gets the stops of one that it traces.
const watchEnv = "FAULTS_WATCH"

// watch is what killBeforeSync asks another process for.
type watch struct {
	PID int
	// Logs are below In, and not below NotIn.
	In, NotIn string
	Within    time.Duration
}

// watchedFor bounds how long a peer is watched, in which it is slower.
const watchedFor = 10 * time.Second

// killBeforeSync watches the system calls of a process until it is about to sync a log to which it
// has written since it synced it last, and kills it there: nobody was told of that write, unless the
// process breaks its promises. When it has synced nothing in time it goes on, and the error is errBusy.
func killBeforeSync(w watch) (lost unsynced, err error) {
	self, err := os.Executable()
	if err != nil {
		return unsynced{}, err
	}
	request, err := json.Marshal(w)
	if err != nil {
		return unsynced{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.Within+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), watchEnv+"="+string(request))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); err != nil {
		return unsynced{}, fmt.Errorf("watching %d: %w: %s", w.PID, err, text.Bytes())
	}
	if err := json.Unmarshal(out.Bytes(), &lost); err != nil {
		return unsynced{}, fmt.Errorf("watching %d: %w: %s", w.PID, err, out.Bytes())
	}
	if lost.Path == "" {
		return unsynced{}, errBusy
	}
	return lost, nil
}

// carryOut is the other side of killBeforeSync. When it ends, the kernel lets go what it traces.
func carryOut(request string) error {
	runtime.LockOSThread() // Only the thread that traces may.
	t := tracer{synced: map[string]int64{}}
	if err := json.Unmarshal([]byte(request), &t.watch); err != nil {
		return err
	}
	if err := t.seize(); err != nil {
		return err
	}
	lost, err := t.untilSync()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(lost)
}

// tracer traces a process from one thread.
type tracer struct {
	watch
	// synced is how far each file was written when it was synced last.
	synced map[string]int64
}

// seize begins to trace all threads. New ones are traced from their start.
func (t tracer) seize() error {
	known := map[int]bool{}
	for {
		tids, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", t.PID))
		if err != nil {
			return err
		}
		found := false
		for _, entry := range tids {
			var tid int
			if _, err := fmt.Sscan(entry.Name(), &tid); err != nil {
				return err
			}
			if known[tid] {
				continue
			}
			known[tid], found = true, true
			const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
			_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, options, 0, 0)
			if errno == 0 {
				errno, _ = unix.PtraceInterrupt(tid).(syscall.Errno)
			}
			// It has ended, or is traced as the child of one that is.
			if errno != 0 && errno != syscall.ESRCH && errno != syscall.EPERM {
				return fmt.Errorf("tracing thread %d of %d: %w", tid, t.PID, errno)
			}
		}
		if !found {
			return nil
		}
	}
}

// untilSync lets the threads go from system call to system call. Nothing is lost when the time is over.
func (t tracer) untilSync() (unsynced, error) {
	for until := time.Now().Add(t.Within); time.Now().Before(until); {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR || err == nil && tid > 0 && !status.Stopped(): // A thread has ended.
			continue
		case err != nil:
			return unsynced{}, fmt.Errorf("waiting for threads of %d: %w", t.PID, err)
		case tid == 0:
			time.Sleep(50 * time.Microsecond) // No thread has anything to say.
			continue
		}
		signal := 0
		switch s := status.StopSignal(); {
		case s == syscall.SIGTRAP|0x80:
			lost, found, err := t.call(tid)
			if err != nil {
				return unsynced{}, err
			}
			if found {
				return lost, syscall.Kill(t.PID, syscall.SIGKILL)
			}
		case uint32(status)>>16 == 0: // It is given a signal.
			signal = int(s)
		}
		if err := syscall.PtraceSyscall(tid, signal); err != nil && err != syscall.ESRCH {
			return unsynced{}, fmt.Errorf("continuing thread %d of %d: %w", tid, t.PID, err)
		}
	}
	return unsynced{}, nil
}

// callInfo is struct ptrace_syscall_info of the kernel.
type callInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64
	args   [6]uint64
	_      uint64
}

// callEntry is the value of op for a call that has not begun.
const callEntry = 1

// call looks at a thread that is stopped before or after a system call.
func (t tracer) call(tid int) (lost unsynced, found bool, err error) {
	var info callInfo
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == syscall.ESRCH {
		return unsynced{}, false, nil
	}
	if errno != 0 {
		return unsynced{}, false, fmt.Errorf("reading the system call of thread %d of %d: %w", tid, t.PID, errno)
	}
	if info.op != callEntry || info.number != unix.SYS_FDATASYNC && info.number != unix.SYS_FSYNC {
		return unsynced{}, false, nil
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.PID, info.args[0]))
	if err != nil || !t.isLog(path) {
		return unsynced{}, false, nil // It is closed already, or another.
	}
	position, err := t.position(info.args[0])
	if err != nil {
		return unsynced{}, false, err
	}
	before, known := t.synced[path]
	t.synced[path] = position
	return unsynced{path, before, position}, known && before < position, nil
}

// isLog reports whether a file is a log of the store.
func (w watch) isLog(path string) bool {
	below := func(folder string) bool { return strings.HasPrefix(path, folder+string(filepath.Separator)) }
	return strings.HasSuffix(path, ".log") && below(w.In) && !below(w.NotIn)
}

// position is how far the process has written a file.
func (t tracer) position(fd uint64) (at int64, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", t.PID, fd))
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Sscanf(string(raw), "pos:\t%d", &at); err != nil {
		return 0, fmt.Errorf("fdinfo of %d: %w: %q", fd, err, raw)
	}
	return at, nil
}
