/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* Waiting, which SIGINT, SIGTERM and SIGHUP end. */
#ifndef GMEM_WAIT_H
#define GMEM_WAIT_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * From here on they do, instead of ending the program; but one that was ignored still is,
 * as nohup wants it.  With @once a second one ends the program.  One that came before is
 * forgotten.
 */
void wait_catch(bool once);
void wait_release(void);

/* Has one come? */
bool wait_is_ended(void);

/* CLOCK_MONOTONIC in nanoseconds, after so many seconds. */
uint64_t wait_deadline(double seconds);

/*
 * Wait for one of @fds, -1 being none; false if @deadline_ns, which may be UINT64_MAX, is over
 * or a signal came.
 */
bool wait_for(struct pollfd *fds, unsigned int nr, uint64_t deadline_ns);

#endif
