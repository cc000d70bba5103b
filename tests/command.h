/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* The command gmem, which is beside the program that runs it, and its output. */
#ifndef TESTS_COMMAND_H
#define TESTS_COMMAND_H

#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../examples/vm.h"

#define OUTPUT	"/tmp/output"

/* Start it as @user, with its output in @to, which is closed here. */
static inline pid_t begin_as(uid_t user, int to, char *const *argv)
{
	pid_t child;

	check(sys(to), "the output of gmem");
	fflush(stdout);
	child = fork();
	check(sys(child), "fork");
	if (!child) {
		dup2(to, STDOUT_FILENO);
		if (user)
			check(sys(setgid(user)) ?: sys(setuid(user)), "setuid");
		execv("./gmem", argv);
		_exit(127);
	}
	close(to);

	return child;
}

/* Its exit status, or -1. */
static inline int end_command(pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline int open_output(void)
{
	return open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* With these arguments, and its output in OUTPUT, it is started, or run. */
#define ARGUMENTS(...) (char *[]){ "gmem", __VA_ARGS__, NULL }
#define BEGIN(...) begin_as(0, open_output(), ARGUMENTS(__VA_ARGS__))
#define RUN(...) end_command(BEGIN(__VA_ARGS__))

/* In how many lines of OUTPUT are all of these. */
static inline int lines_with(const char *one, const char *other)
{
	char line[4096];
	FILE *f = fopen(OUTPUT, "r");
	int nr = 0;

	check(f ? 0 : -errno, OUTPUT);
	while (fgets(line, sizeof(line), f))
		nr += strstr(line, one) && strstr(line, other);
	fclose(f);
	return nr;
}

static inline void show_output(void)
{
	char line[4096];
	FILE *f = fopen(OUTPUT, "r");

	while (f && fgets(line, sizeof(line), f))
		printf("# %s%s", line, strchr(line, '\n') ? "" : "\n");
	if (f)
		fclose(f);
}

#endif
