// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "output.h"

/* 0 or -errno. */
static int write_all(int fd, const char *text, size_t size)
{
	ssize_t written;

	while (size) {
		written = write(fd, text, size);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		text += written;
		size -= written;
	}

	return 0;
}

static void die_at_stdout(void)
{
	die("cannot write to standard output");
}

void output_flush(void)
{
	/* The errno of an earlier failed write is lost. */
	errno = EIO;
	if (fflush(stdout) || ferror(stdout))
		die_at_stdout();
}

static void write_to_stdout(const char *text, size_t size)
{
	int r;

	output_flush();
	r = write_all(STDOUT_FILENO, text, size);
	if (r) {
		errno = -r;
		die_at_stdout();
	}
}

static void die_writing(const char *name, int error)
{
	errno = error;
	die("cannot write '%s'", name);
}

static void write_into(const char *name, const char *text, size_t size)
{
	int fd = open(name, O_WRONLY | O_CLOEXEC), r;

	if (fd < 0)
		die_writing(name, errno);
	r = write_all(fd, text, size);
	if (close(fd) && !r)
		r = -errno;
	if (r)
		die_writing(name, -r);
}

static void replace_file(const char *name, const char *text, size_t size)
{
	char target[PATH_MAX], temporary[PATH_MAX + 32], *slash;
	struct stat st;
	int fd, r;

	/* Replace what a symbolic link points to, not the link. */
	if (!realpath(name, target))
		snprintf(target, sizeof(target), "%s", name);
	if (!stat(target, &st) && !S_ISREG(st.st_mode)) {
		write_into(target, text, size);
		return;
	}

	/* In the same directory, as rename() does not cross file systems. */
	slash = strrchr(target, '/');
	snprintf(temporary, sizeof(temporary), "%.*s.%s.%d.tmp", slash ? (int)(slash - target) + 1 : 0,
		 target, slash ? slash + 1 : target, getpid());
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		die_writing(name, errno);

	r = write_all(fd, text, size);
	if (!r && fsync(fd))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	if (!r && rename(temporary, target))
		r = -errno;
	if (r) {
		unlink(temporary);
		die_writing(name, -r);
	}
}

void output_write(const char *name, const char *text, size_t size)
{
	if (name && strcmp(name, "-"))
		replace_file(name, text, size);
	else
		write_to_stdout(text, size);
}

bool output_knows_escapes(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb");
}
