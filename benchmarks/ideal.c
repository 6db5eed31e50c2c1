/* What labkit's engine does, with nothing around it: the least that run() could cost.
 *
 * A single-threaded process waits on the socket that is its standard input. Each message brings
 * three descriptors: standard input, output and error of a container. It makes the container with the system calls that
 * labkit's trace shows, waits for its end and answers with the exit status as waitpid(2) has it.
 *
 *     ideal PROGRAM [ARGUMENT...]     what every container runs
 */
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONTROL = 0, STREAMS = 3 };

/* Take one request; 0 when the caller is gone. */
static int receive(int fds[STREAMS])
{
    char byte, room[CMSG_SPACE(STREAMS * sizeof(int))];
    struct iovec data = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room
    };
    if (recvmsg(CONTROL, &message, MSG_CMSG_CLOEXEC) <= 0 || !CMSG_FIRSTHDR(&message))
        return 0;
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), STREAMS * sizeof(int));
    return 1;
}

static pid_t make(void)
{
    struct clone_args arguments = {
        .flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET,
        .exit_signal = SIGCHLD,
    };
    return syscall(SYS_clone3, &arguments, (size_t)CLONE_ARGS_SIZE_VER0);
}

static void become(char **argv, char **environment, const int fds[STREAMS])
{
    for (int stream = 0; stream < STREAMS; stream++)
        dup2(fds[stream], stream);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0
        && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
        && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
        execve(argv[0], argv, environment);
    _exit(125);
}

int main(int argc, char **argv, char **environment)
{
    int fds[STREAMS], status;

    while (argc > 1 && receive(fds)) {
        pid_t child = make();
        if (child == 0)
            become(argv + 1, environment, fds);
        for (int stream = 0; stream < STREAMS; stream++)
            close(fds[stream]);
        if (child < 0 || waitpid(child, &status, 0) < 0)
            return 1;
        if (send(CONTROL, &status, sizeof status, MSG_NOSIGNAL) < 0)
            return 1;
    }
    return argc < 2;
}
