// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A real memory, after a guest has asked for this and that. */
#include <stdlib.h>

#include "cmd.h"
#include "map.h"

#define DEMO_PAGES	(64 * 64)

void map_demo(struct picture *picture, unsigned int columns)
{
	uint64_t size = DEMO_PAGES * PAGE, offset;
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	const char *lacking;
	struct gmem *gmem;
	struct vm vm;
	int i;

	lacking = vm_create(&vm, GMEM_MECHANISM_NONE);
	if (lacking)
		die_unsupported(lacking);
	gmem = vm_memory(&vm, size, GMEM_PRIVATE, VM_DATA_SLOT, 1ull << 32, NULL);
	srand(1);
	for (i = 0; i < 60; i++) {
		uint64_t nr = 1 + rand() % (i < 20 ? 200 : 8), first = rand() % (DEMO_PAGES - nr);

		if (convert(gmem, first * PAGE, nr * PAGE,
			    i % 4 == 3 ? GMEM_PRIVATE : GMEM_SHARED, GMEM_NONE, NULL))
			die("conversion");
	}

	picture_begin(picture, 0, size, columns);
	for (offset = 0; offset < size; offset += range.size) {
		gmem_lookup(gmem, offset, &range);
		picture_add(picture, offset, offset + range.size, range.attributes == GMEM_PRIVATE);
	}
	picture_finish(picture);
	gmem_destroy(gmem);
	vm_destroy(&vm);
}
