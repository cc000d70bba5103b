// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <inttypes.h>

#include "text.h"
#include "map.h"

static void print_one(FILE *to, const struct picture *picture)
{
	size_t i;

	fprintf(to, "{ \"title\": ");
	text_json(to, picture->title);
	if (picture->pid)
		fprintf(to, ", \"pid\": %d, \"fd\": %d", picture->pid, picture->fd);
	fprintf(to, ", \"start\": %" PRIu64 ", \"end\": %" PRIu64 ", \"cell\": %" PRIu64
		", \"columns\": %u, \"states\": \"", picture->start, picture->end, picture->per_cell,
		picture->columns);
	for (i = 0; i < picture->nr_cells; i++)
		putc(map_looks[picture->cells[i]].letter, to);
	fprintf(to, "\", ");
	guest_memfd_json_slots(to, &picture->slots);
	fprintf(to, " }");
}

void map_print_json(FILE *to, const struct picture *pictures, size_t nr)
{
	size_t i;

	putc('[', to);
	for (i = 0; i < nr; i++) {
		fputs(i ? ", " : "", to);
		print_one(to, &pictures[i]);
	}
	fputs("]\n", to);
}
