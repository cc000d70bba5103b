/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What /proc says of the processes of this host: their files, what they map, what a line
 * of status or fdinfo has.  A process may be gone at any time, and what is not ours to see
 * is passed over.
 */
#ifndef GMEM_PROC_H
#define GMEM_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* An open file of a process. */
struct proc_fd {
	pid_t pid;
	int fd;
	/* Where the link leads, as "/dev/iommu" or "pipe:[4711]". */
	char target[256];
};

/* Where a process has a file mapped. */
struct proc_mapping {
	pid_t pid;
	uint64_t start;
	uint64_t end;
	uint64_t offset;
};

/* A file, whoever has it open. */
struct proc_file {
	dev_t dev;
	ino_t ino;
	uint64_t size;
};

/*
 * Call @each for each process, open file, or mapping of @file, until it returns true.
 * @pid 0 is every process.  Returns how many processes could not be examined.
 */
unsigned int proc_each_fd(pid_t pid, bool (*each)(const struct proc_fd *fd, void *arg), void *arg);
unsigned int proc_each_mapping(const struct proc_file *file,
			       bool (*each)(const struct proc_mapping *mapping, void *arg), void *arg);

/* The name of a process, or "?", as it gave it; in a static buffer. */
const char *proc_name(pid_t pid);

/* Is there such a process, or thread? */
bool proc_exists(pid_t pid);

/* Has a signal stopped it? */
bool proc_is_stopped(pid_t pid);

/* A pidfd of the process that the thread @pid is of, or -errno. */
int proc_open(pid_t pid);

/* Is it a guest_memfd?  Then which; errno is 0 if it is another file. */
bool proc_is_guest_memfd(pid_t pid, int fd, struct proc_file *file);

/* What follows "@key:" in the status of a process, or in what it says of a descriptor; or 0. */
uint64_t proc_status(pid_t pid, const char *key);
uint64_t proc_fdinfo(pid_t pid, int fd, const char *key);

/*
 * Call @each for each "key: value" in the fdinfo of a descriptor.  False if the
 * descriptor is gone, or not ours to see.
 */
bool proc_each_fdinfo(pid_t pid, int fd,
		      void (*each)(const char *key, const char *value, void *arg), void *arg);

/*
 * A copy of a descriptor, or -errno; opening /proc/PID/fd/FD would be a new open file
 * instead.  The copy keeps the file, and the memory of a VM that has ended, so close it soon.
 */
int proc_copy_fd(pid_t pid, int fd);

/* What pagemap says of a page: whether it is there. */
bool proc_is_present(pid_t pid, uint64_t address);

#endif
