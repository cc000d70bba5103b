// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The states of a running VM's memory, which the kernel reports for an open file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd.h"
#include "human.h"
#include "map.h"
#include "proc.h"

/*
 * Two calls for each cell: once both states have been seen, the rest of the cell makes no
 * difference.  So the time depends on the cells of the picture, not on the size of the
 * file or its ranges.  During conversions a range may seem to end too early; then the next
 * call returns its other part.
 */
static int fill(struct picture *picture, int copy)
{
	bool is_private, before = false;
	uint64_t offset, end, rest;
	int r;

	for (offset = 0; offset < picture->end; offset = end) {
		r = guest_memfd_range(copy, offset, &end, &is_private);
		if (r)
			return r;
		picture_add(picture, offset, end, is_private);
		rest = offset % picture->per_cell;
		if (rest && is_private != before && end - offset < picture->per_cell - rest)
			end = offset + picture->per_cell - rest;
		before = is_private;
	}

	return 0;
}

static void name_it(struct picture *picture, pid_t pid, int fd, uint64_t size)
{
	snprintf(picture->title, sizeof(picture->title), "%d:%d %s: %s, private %s, shared %s, allocated %s",
		 pid, fd, proc_name(pid), human_bytes(size), human_bytes(proc_fdinfo(pid, fd, "gmem-private")),
		 human_bytes(proc_fdinfo(pid, fd, "gmem-shared")),
		 human_bytes(proc_fdinfo(pid, fd, "gmem-allocated")));
}

/* 0 or -errno. */
static int map_one(struct picture *picture, pid_t pid, int fd, unsigned int columns)
{
	int copy = proc_copy_fd(pid, fd), r;
	struct stat st;

	*picture = (struct picture){ .pid = pid, .fd = fd };
	if (copy < 0)
		return copy;

	r = fstat(copy, &st) ? -errno : 0;
	if (!r) {
		picture_begin(picture, 0, st.st_size, columns);
		r = fill(picture, copy);
	}
	close(copy);
	if (r) {
		picture_free(picture);
		return r;
	}
	picture_finish(picture);
	guest_memfd_read_slots(pid, fd, &picture->slots);
	name_it(picture, pid, fd, st.st_size);

	return 0;
}

/* Explain a failure of map_one() to the user; sets errno for die(). */
static const char *explain(int r)
{
	switch (r) {
	case -ENOTTY:
	case -EOPNOTSUPP:
		errno = 0;
		return "this kernel does not report which pages are private, or the guest_memfd is not in place";
	case -EBADF:
	case -ESRCH:
		errno = ESRCH;
		return "the file has just been closed";
	}

	errno = -r;
	return r == -EPERM ? "no permission to examine the file of this process" :
			     "cannot read the states";
}

size_t map_vm(pid_t pid, int fd, unsigned int columns, struct picture **pictures, const char **problem)
{
	struct guest_memfds files;
	size_t i, nr = 0;
	int r = -ESRCH;

	*problem = guest_memfd_list(pid, fd, &files);
	if (*problem) {
		if (!errno)
			errno = ESRCH;
		return 0;
	}

	*pictures = calloc(files.nr, sizeof(**pictures));
	if (!*pictures)
		die("%zu pictures", files.nr);
	for (i = 0; i < files.nr; i++) {
		r = map_one(&(*pictures)[nr], pid, files.at[i].fd, columns);
		nr += !r;
		/* A file or process that has gone in the meantime is not an error. */
		if (r && r != -EBADF && r != -ESRCH && files.nr > 1)
			fprintf(stderr, "gmem: %d:%d: %s\n", pid, files.at[i].fd, explain(r));
	}
	free(files.at);
	if (!nr) {
		free(*pictures);
		*problem = explain(r);
	}

	return nr;
}
