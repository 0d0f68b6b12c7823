package faults

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
)

// clock is the wall clock that one process reads, which can be set without
// setting the machine's. Go programs read the time through the vDSO, a page of
// code that the kernel maps into every process, and ignore libraries that are
// preloaded. So the code of the process is patched: clock_gettime asks the kernel
// by a system call and adds a number of seconds to CLOCK_REALTIME. CLOCK_MONOTONIC,
// by which timers run, is not changed, as when an operator sets a clock.
type clock struct {
	pid    int
	offset int64 // address of the number of seconds
}

// patchedClock is the code; the seconds follow it at patchedOffset.
var patchedClock = [...]byte{
	0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, 228 (clock_gettime)
	0x0f, 0x05, // syscall
	0x85, 0xc0, // test eax, eax
	0x75, 0x0e, // jne to ret
	0x85, 0xff, // test edi, edi: CLOCK_REALTIME is 0
	0x75, 0x0a, // jne to ret
	0x48, 0x8b, 0x0d, 0x0a, 0x00, 0x00, 0x00, // mov rcx, [rip+10]
	0x48, 0x01, 0x0e, // add [rsi], rcx
	0xc3, // ret
}

const patchedOffset = 32

// patchClock patches a process that is stopped before its first instruction.
func patchClock(pid int) (*clock, error) {
	base, err := vdsoAddress(pid)
	if err != nil {
		return nil, err
	}
	function, err := vdsoFunction(pid, base, "__vdso_clock_gettime")
	if err != nil {
		return nil, err
	}
	code := make([]byte, patchedOffset+8)
	copy(code, patchedClock[:])
	if err := writeMemory(pid, function, code); err != nil {
		return nil, err
	}
	return &clock{pid: pid, offset: function + patchedOffset}, nil
}

// set makes the process read the true time plus offset, in whole seconds.
func (c *clock) set(offset time.Duration) error {
	b := binary.LittleEndian.AppendUint64(nil, uint64(int64(offset/time.Second)))
	return writeMemory(c.pid, c.offset, b)
}

func writeMemory(pid int, at int64, b []byte) error {
	f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	if err != nil {
		err = fmt.Errorf("patching the clock of process %d: %w", pid, err)
	}
	return errors.Join(err, f.Close())
}

// vdsoAddress is where the vDSO of the process begins.
func vdsoAddress(pid int) (int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, err
	}
	const sysinfoHeader = 33 // AT_SYSINFO_EHDR
	for ; len(raw) >= 16; raw = raw[16:] {
		if binary.LittleEndian.Uint64(raw) == sysinfoHeader {
			return int64(binary.LittleEndian.Uint64(raw[8:])), nil
		}
	}
	return 0, errors.New("this system has no vDSO")
}

// vdsoFunction is the address of a function with room for our code.
func vdsoFunction(pid int, base int64, name string) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	image := make([]byte, 2*4096)
	n, err := f.ReadAt(image, base)
	if n < 4096 {
		return 0, fmt.Errorf("reading the vDSO: %w", err)
	}
	file, err := elf.NewFile(bytes.NewReader(image[:n]))
	if err != nil {
		return 0, fmt.Errorf("reading the vDSO: %w", err)
	}
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return 0, fmt.Errorf("reading the vDSO: %w", err)
	}
	for _, s := range symbols {
		if s.Name != name {
			continue
		}
		for _, other := range symbols {
			if other.Value > s.Value && other.Value < s.Value+patchedOffset+8 && other.Section == s.Section {
				return 0, fmt.Errorf("%s is too short to be patched: %s follows", name, other.Name)
			}
		}
		return base + int64(s.Value), nil
	}
	return 0, fmt.Errorf("the vDSO has no %s", name)
}
