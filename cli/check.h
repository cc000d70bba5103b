/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the files of gmem check share.  Each check_*.c ends with its promises; a case runs
 * in a process of its own and ends with a message if something is wrong.
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

/* Does the mechanism of this run have the policy, to these attributes? */
bool offers(uint64_t attributes, enum gmem_policy policy);

/* What the library says, for each page of the range. */
void expect_attributes(uint64_t offset, uint64_t size, uint64_t attributes);

#define TWO		(1u << GMEM_TWO_BACKINGS)
#define PLAIN		(1u << GMEM_IN_PLACE_PLAIN)
#define POLICIES	(1u << GMEM_IN_PLACE)
#define IN_PLACE	(PLAIN | POLICIES)
#define ANY		(TWO | IN_PLACE)

#define Z	GMEM_POLICY_BIT(GMEM_ZERO)
#define P	GMEM_POLICY_BIT(GMEM_PRESERVE)
#define N	GMEM_POLICY_BIT(GMEM_NONE)

struct promise {
	const char *name;
	void (*run)(void);
	/* Those that make it. */
	uint32_t mechanisms;
	/* Policies that are needed in either direction. */
	uint32_t to_shared;
	uint32_t to_private;
	/* Promised only where guests have a say in what becomes shared. */
	bool must_agree;
	/* What else is needed and missing, or NULL. */
	const char *(*lacks)(void);
};

/* What follows @shared and @private are initializers. */
#define PROMISE(group, function, from, shared, private, ...) {			\
	.name = group "." #function, .run = function, .mechanisms = from,	\
	.to_shared = shared, .to_private = private, __VA_ARGS__ }

struct promises {
	const struct promise *at;
	size_t nr;
};

extern const struct promises check_memory, check_policy, check_range, check_listener,
	check_consent, check_ioctl, check_visible;

#endif
