// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "map.h"
#include "text.h"

static void print_cells(FILE *to, const struct picture *picture, unsigned int row, bool colours)
{
	unsigned int i, first = row * picture->columns, kind, before = NR_CELL_KINDS;

	for (i = first; i < first + picture->columns && i < picture->nr_cells; i++) {
		kind = picture->cells[i];
		if (!colours)
			putc(map_looks[kind].letter, to);
		else
			fprintf(to, "%s\u2588", kind == before ? "" : map_looks[kind].ansi);
		before = kind;
	}
	fputs(colours ? "\033[0m\n" : "\n", to);
}

static void print_one(FILE *to, const struct picture *picture, bool colours)
{
	const char *slot;
	unsigned int i;

	if (*picture->title)
		fprintf(to, "%s\n", text_plain(picture->title));
	if (picture->slots.nr)
		fprintf(to, "%s\n", picture_heading(picture));
	for (i = 0; i < picture->rows; i++) {
		fprintf(to, "%s  ", picture_row_label(picture, i));
		print_cells(to, picture, i, colours);
	}

	fprintf(to, "\n%s:", picture_scale(picture));
	for (i = 0; i < NR_CELL_KINDS; i++) {
		if (colours)
			fprintf(to, "  %s\u2588\033[0m %s", map_looks[i].ansi, map_looks[i].name);
		else
			fprintf(to, "  %c %s", map_looks[i].letter, map_looks[i].name);
	}
	putc('\n', to);
	for (i = 0; (slot = picture_slot_label(picture, i)); i++)
		fprintf(to, "%s\n", slot);
}

void map_print(FILE *to, const struct picture *pictures, size_t nr, bool colours)
{
	size_t i;

	for (i = 0; i < nr; i++) {
		if (i)
			putc('\n', to);
		print_one(to, &pictures[i], colours);
	}
}
