// V0.1 运行一个程序 · V0.1 runs a program
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	fmt.Println(os.Args)
	if len(os.Args) < 3 || os.Args[1] != "run" || os.Args[2] == "" {
		fmt.Fprintln(os.Stderr, "用法 · usage:", os.Args[0], "run CMD [ARG...]")
		os.Exit(2)
	}
	os.Exit(status(run(os.Args[2:])))
}

// 运行一个程序，等它结束 · run a program and wait for its end
func run(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = os.Stdin
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// 它怎样结束，我们就怎样结束 · end as it ended
func status(err error) int {
	if err == nil {
		return 0
	}
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		wait := ended.Sys().(syscall.WaitStatus)
		if wait.Signaled() { // shell 也这样记 · as shells have it
			return 128 + int(wait.Signal())
		}
		return wait.ExitStatus()
	}
	// 它没能开始，Go 不说败在哪一步 · it never began; Go does not say which step failed
	fmt.Fprintln(os.Stderr, err)
	switch {
	case errors.Is(err, exec.ErrNotFound),
		errors.Is(err, syscall.ENOENT),
		errors.Is(err, syscall.ENOTDIR):
		return 127
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC):
		return 126
	default: // 内核不肯造 · the kernel would not make it
		return 125
	}
}
