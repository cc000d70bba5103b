/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the files of gmem check share.  A case runs in a process of its own and ends with a
 * message if something is wrong.
 */
#ifndef GMEM_CHECK_H
#define GMEM_CHECK_H

#include "cmd.h"

#define PAGES		16
#define SIZE		(PAGES * PAGE)

/* What a case is run on: all shared, bound at VM_DATA, and known to read zeros. */
extern struct vm vm;
extern struct gmem *gmem;
extern uint8_t *mem;
extern const struct gmem_probe *probe;

void wrong(const char *file, int line, const char *what, long long seen, long long promised);

#define EXPECT(seen, promised)							\
	do {									\
		long long seen_ = (long long)(seen), promised_ = (long long)(promised);	\
		if (seen_ != promised_)						\
			wrong(__FILE__, __LINE__, #seen, seen_, promised_);	\
	} while (0)

/* Of the library, for each page of the range. */
void expect_attributes(uint64_t offset, uint64_t size, uint64_t attributes);

/* check_visible.c: what the kernel shows of memory in place, where it does. */

bool kernel_shows(void);
void getter_says_which_pages_are_private(void);
void getter_refuses_what_is_wrong(void);
void getter_answers_whoever_has_the_file(void);
void library_agrees_with_the_kernel(void);
void fdinfo_has_what_is_private_and_shared(void);
void fdinfo_has_each_slot_once(void);
void statistics_count_what_changes(void);
void statistics_count_what_is_refused(void);

#endif
