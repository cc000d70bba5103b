// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What a case is run on, and how it fails. */
#include <stdio.h>
#include <unistd.h>

#include "check.h"

struct vm vm;
struct gmem *gmem;
uint8_t *mem;
const struct gmem_probe *probe;

void wrong(const char *file, int line, const char *what, long long seen, long long promised)
{
	printf("# %s:%d: %s is %lld, promised %lld\n", file, line, what, seen, promised);
	fflush(stdout);
	_exit(EXIT_WRONG);
}

bool offers(uint64_t attributes, enum gmem_policy policy)
{
	return (attributes & GMEM_PRIVATE ? probe->to_private : probe->to_shared) &
	       GMEM_POLICY_BIT(policy);
}

void expect_attributes(uint64_t offset, uint64_t size, uint64_t attributes)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	for (; size; size -= range.size, offset += range.size) {
		EXPECT(gmem_lookup(gmem, offset, &range), 0);
		EXPECT(range.attributes, attributes);
		if (range.size > size)
			range.size = size;
	}
}
