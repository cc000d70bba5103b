/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * Which system calls some code makes, and what it does where one is filtered out, on kernels with
 * and without seccomp: a child runs it and is traced.
 */
#ifndef TESTS_SYSTEM_CALLS_H
#define TESTS_SYSTEM_CALLS_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
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

enum filter {
	/* Say what is not in the list, and go on. */
	FILTER_SAYS,
	/* As a filter of seccomp does: end the process, or have the call fail with EPERM. */
	FILTER_KILLS,
	FILTER_REFUSES,
};

struct filtered {
	unsigned int nr_calls;
	unsigned int nr_unlisted;
	struct system_call first_unlisted;
	/* As from waitpid(). */
	int status;
	/* It has begun and ended its calls. */
	bool is_whole;
};

/* The call that @child has begun fails with EPERM. */
static inline void refuse_call(pid_t child)
{
	struct user_regs_struct regs;
	int status;

	ptrace(PTRACE_GETREGS, child, NULL, &regs);
	regs.orig_rax = -1;
	ptrace(PTRACE_SETREGS, child, NULL, &regs);
	ptrace(PTRACE_SYSCALL, child, NULL, NULL);
	waitpid(child, &status, 0);
	ptrace(PTRACE_GETREGS, child, NULL, &regs);
	regs.rax = -EPERM;
	ptrace(PTRACE_SETREGS, child, NULL, &regs);
}

/* Run @code, of whose calls between the two above those in the list are allowed. */
static inline struct filtered run_filtered(void (*code)(void), const struct system_call *listed,
					   enum filter filter)
{
	struct filtered filtered = {};
	struct __ptrace_syscall_info info;
	unsigned int nr_markers = 0;
	struct system_call call;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		code();
		_exit(0);
	}
	if (child < 0 || waitpid(child, &filtered.status, 0) != child ||
	    !WIFSTOPPED(filtered.status))
		return filtered;
	ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));

	while (!ptrace(PTRACE_SYSCALL, child, NULL, NULL) &&
	       waitpid(child, &filtered.status, 0) == child && WIFSTOPPED(filtered.status)) {
		if (WSTOPSIG(filtered.status) != (SIGTRAP | 0x80) ||
		    ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof(info), &info) <= 0 ||
		    info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		call.number = info.entry.nr;
		call.request = call.number == SYS_ioctl ? (uint32_t)info.entry.args[1] : 0;
		if (call.number == SYS_getppid)
			nr_markers++;
		if (call.number == SYS_getppid || nr_markers != 1)
			continue;
		filtered.nr_calls++;
		if (is_listed(listed, &call))
			continue;
		if (!filtered.nr_unlisted++)
			filtered.first_unlisted = call;
		if (filter == FILTER_KILLS) {
			kill(child, SIGKILL);
			waitpid(child, &filtered.status, 0);
			break;
		}
		if (filter == FILTER_REFUSES)
			refuse_call(child);
		else if (filtered.nr_unlisted <= 8)
			printf("# system call %lu, request %#lx is not listed\n",
			       (unsigned long)call.number, (unsigned long)call.request);
	}
	filtered.is_whole = nr_markers == 2;
	return filtered;
}

/* Is all that @code calls in the list? */
static inline bool only_calls(void (*code)(void), const struct system_call *listed)
{
	struct filtered filtered = run_filtered(code, listed, FILTER_SAYS);

	printf("# %u system calls\n", filtered.nr_calls);
	return filtered.is_whole && filtered.nr_calls && !filtered.nr_unlisted &&
	       WIFEXITED(filtered.status) && !WEXITSTATUS(filtered.status);
}

/* Is @code killed by a filter that allows all in the list but @missing, and for that? */
static inline bool is_killed_without(void (*code)(void), const struct system_call *listed,
				     const struct system_call *missing)
{
	struct system_call others[32] = {};
	struct filtered filtered;
	unsigned int nr = 0;

	for (; listed->number && nr < 31; listed++) {
		if (listed->number != missing->number || listed->request != missing->request)
			others[nr++] = *listed;
	}
	filtered = run_filtered(code, others, FILTER_KILLS);
	return WIFSIGNALED(filtered.status) && WTERMSIG(filtered.status) == SIGKILL &&
	       filtered.first_unlisted.number == missing->number &&
	       filtered.first_unlisted.request == missing->request;
}

#endif
