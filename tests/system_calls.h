/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Which system calls some code makes, on kernels with and without seccomp: a child runs it and
 * is traced.
 */
#ifndef TESTS_SYSTEM_CALLS_H
#define TESTS_SYSTEM_CALLS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* @request is that of an ioctl(), else 0. */
struct system_call {
	uint64_t number;
	uint64_t request;
};

/* What lies between these counts; getppid() is nobody else's. */
static inline void begin_calls(void)
{
	syscall(SYS_getppid);
}

static inline void end_calls(void)
{
	syscall(SYS_getppid);
}

/* @listed ends with an empty one; 0 is read(), which nothing here lists. */
static inline bool is_listed(const struct system_call *listed, const struct system_call *call)
{
	for (; listed->number; listed++) {
		if (listed->number == call->number && listed->request == call->request)
			return true;
	}
	return false;
}

/* Is all that @code calls in the list?  Says what is not. */
static inline bool only_calls(void (*code)(void), const struct system_call *listed)
{
	struct __ptrace_syscall_info info;
	unsigned int nr_markers = 0, nr_calls = 0, nr_unlisted = 0;
	struct system_call call;
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		code();
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
		return false;
	ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));

	while (!ptrace(PTRACE_SYSCALL, child, NULL, NULL) && waitpid(child, &status, 0) == child &&
	       WIFSTOPPED(status)) {
		if (WSTOPSIG(status) != (SIGTRAP | 0x80) ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof(info), &info) <= 0 ||
		    info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		call.number = info.entry.nr;
		call.request = call.number == SYS_ioctl ? (uint32_t)info.entry.args[1] : 0;
		if (call.number == SYS_getppid) {
			nr_markers++;
		} else if (nr_markers == 1) {
			nr_calls++;
			if (!is_listed(listed, &call) && ++nr_unlisted <= 8)
				printf("# system call %lu, request %#lx is not listed\n",
				       (unsigned long)call.number, (unsigned long)call.request);
		}
	}
	printf("# %u system calls\n", nr_calls);
	return nr_markers == 2 && nr_calls && !nr_unlisted && WIFEXITED(status) && !WEXITSTATUS(status);
}

#endif
