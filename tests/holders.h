/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Ways to hold a page, so that it cannot become private. */
#ifndef TESTS_HOLDERS_H
#define TESTS_HOLDERS_H

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../examples/vm.h"

/* Until both @ends are closed; a reference. */
static inline void hold_in_pipe(void *page, int ends[2])
{
	struct iovec iov = { .iov_base = page, .iov_len = PAGE };

	check(sys(pipe(ends)), "pipe");
	check(vmsplice(ends[1], &iov, 1, 0) == (ssize_t)PAGE ? 0 : -errno, "vmsplice");
}

/* Until the ring that is returned is closed; a pin for each page. */
static inline int hold_in_ring(void *pages, unsigned long nr)
{
	struct iovec iov = { .iov_base = pages, .iov_len = nr * PAGE };
	struct io_uring_params params = {};
	int ring = syscall(SYS_io_uring_setup, 1, &params);

	check(sys(ring), "io_uring_setup");
	check(sys(syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1)),
	      "IORING_REGISTER_BUFFERS");
	return ring;
}

#endif
