// V0.5 加上用户命名空间：里面的 root 就是外面的我 · V0.5 adds the user namespace: root inside is me
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	// 第二次执行，已在里面 · the second time, inside
	if os.Args[0] == "init" {
		os.Exit(status(become(os.Args[1:])))
	}
	fmt.Println(os.Args)
	if len(os.Args) < 3 || os.Args[1] != "run" || os.Args[2] == "" {
		fmt.Fprintln(os.Stderr, "用法 · usage:", os.Args[0], "run CMD [ARG...]")
		os.Exit(2)
	}
	os.Exit(status(run(os.Args[2:])))
}

// 运行一个程序，等它结束 · run a program and wait for its end
func run(argv []string) error {
	// Go 在 clone 与 execve 之间没有位置给我们挂 /proc，所以先把自己再执行一遍，runc 也是这样。
	// Between clone and execve Go has no place for us to mount /proc; so, as runc does, we first
	// execute ourselves once more.
	cmd := exec.Command("/proc/self/exe", argv...)
	cmd.Args[0] = "init"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET |
			syscall.CLONE_NEWPID | syscall.CLONE_NEWUSER,
		// 里面的 0 号是外面的我，只此一个；Go 写 gid_map 之前先禁掉 setgroups。
		// Number 0 inside is me outside, and that is all; before gid_map Go forbids setgroups.
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		// CLONE_NEWNS 另放一处。写进 Cloneflags，挂载命名空间也是新的；
		// 可是宿主机的挂载若是共享的（systemd 就这样设），里面一挂载，外面也跟着变。
		// 写在 Unshareflags 里，Go 会先断开传播，再执行程序：
		// mount("none", "/", NULL, MS_REC|MS_PRIVATE, NULL)。
		//
		// CLONE_NEWNS stands apart. In Cloneflags it makes a mount namespace too; but where the
		// host's mounts are shared, as systemd has them, a mount inside appears outside as well.
		// In Unshareflags, Go cuts propagation before it executes the program, by the mount above.
		Unshareflags: syscall.CLONE_NEWNS,
	}
	cmd.Stdin = os.Stdin
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// 1 号进程：从里面挂上 /proc，变成那个程序 · PID 1: mount /proc from inside, become the program
func become(argv []string) error {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	if err := syscall.Mount("proc", "/proc", "proc", flags, ""); err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	if cmd.Err != nil {
		return cmd.Err
	}
	return syscall.Exec(cmd.Path, cmd.Args, os.Environ())
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
