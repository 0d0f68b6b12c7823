package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli"
)

// forced reports whether --force is given, before or after the command.
func forced(c *cli.Context) bool {
	return c.Bool("force") || c.GlobalBool("force")
}

// confirm prompts on standard output and reads y or n from standard input. An
// empty line is a no; anything else repeats the prompt, twice.
func (p *program) confirm(question string) (bool, error) {
	for range 3 {
		fmt.Fprintf(p.out, "%s [y/n]: ", question)
		reply, err := p.readLine()
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("reading the reply: %w", err)
		}
		switch strings.ToLower(reply) {
		case "y", "yes":
			return true, nil
		case "n", "no", "":
			return false, nil
		}
		p.print("Please answer y or n.")
	}
	return false, nil
}

// readLine returns the next line of standard input without blanks around
// it. The last line may lack its end; io.EOF means that there was nothing.
func (p *program) readLine() (string, error) {
	line, err := p.in.ReadString('\n')
	if errors.Is(err, io.EOF) && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}
