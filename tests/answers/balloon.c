// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Balloon and virtio-mem: pages that are given back. */
#include <linux/falloc.h>

#include "answers.h"

/* How many pages the page cache has of what is mapped. */
static unsigned int resident(void)
{
	unsigned char pages[PAGES];
	unsigned int i, nr = 0;

	check(sys(mincore(hva, PAGES * PAGE, pages)), "mincore");
	for (i = 0; i < PAGES; i++)
		nr += pages[i] & 1;
	return nr;
}

void balloon(enum gmem_mechanism mechanism)
{
	const char *name = mechanism == GMEM_IN_PLACE ? "in_place" : "two_backings";
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	bool is_right;

	make_vm(mechanism, PAGES * PAGE);
	check(bind_with(0), "gmem_bind");
	memset(hva, 'b', PAGES * PAGE);
	is_right = !gmem_convert_gpa(memories, DATA_GPA, 4 * PAGE, GMEM_PRIVATE, NULL, NULL) &&
		   !sys(fallocate(gmem_private_fd(ram), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  0, 4 * PAGE));
	is_right = is_right && resident() == PAGES - 4;
	check(gmem_lookup(ram, 0, &range), "gmem_lookup");
	result(is_right && range.size == 4 * PAGE && range.attributes == GMEM_PRIVATE,
	       "balloon.%s.pages_are_given_back_and_stay_private", name);
	result(!gmem_convert_gpa(memories, DATA_GPA, 4 * PAGE, GMEM_SHARED, NULL, NULL) &&
	       look(hva) == 0 && look(hva + 4 * PAGE) == 'b', "balloon.%s.they_read_zeros", name);
	is_right = !gmem_unbind(memories, DATA_GPA, NULL) && !punch(gmem_shared_fd(ram), 8) &&
		   look(hva + 8 * PAGE) == 0;
	result(is_right, "virtio_mem.%s.what_is_unbound_is_punched_while_shared", name);
	gmem_destroy(ram);
	gmem_vm_exit(memories);
}
