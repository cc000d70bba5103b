// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <inttypes.h>
#include <stdlib.h>

#include "cmd.h"
#include "human.h"
#include "map.h"

/* What a picture lists of where it is bound. */
#define MAX_SLOT_LABELS	16

const struct map_look map_looks[NR_CELL_KINDS] = {
	[NOTHING] = { "not said", '.', "\033[90m", 0xdd, 0xdd, 0xdd },
	[SHARED] = { "shared", 's', "\033[33m", 0xe6, 0x9f, 0x00 },
	[PRIVATE] = { "private", 'P', "\033[34m", 0x00, 0x72, 0xb2 },
	[BOTH] = { "some of each", 'm', "\033[35m", 0xcc, 0x79, 0xa7 },
};

void picture_begin(struct picture *picture, uint64_t start, uint64_t end, unsigned int columns)
{
	uint64_t size;
	int i;

	picture->start = start & ~(PAGE - 1);
	picture->end = end;
	size = end - picture->start;
	picture->columns = columns;
	picture->per_cell = PAGE;
	/* As many rows as columns at most, and a power of two of pages in each cell. */
	while ((size - 1) / picture->per_cell >= (uint64_t)columns * columns)
		picture->per_cell *= 2;
	picture->nr_cells = (size - 1) / picture->per_cell + 1;
	picture->rows = (picture->nr_cells - 1) / columns + 1;

	picture->cells = calloc(picture->nr_cells, 1);
	for (i = 0; i < 2; i++)
		picture->changes[i] = calloc(picture->nr_cells + 1, sizeof(int));
	if (!picture->cells || !picture->changes[0] || !picture->changes[1])
		die("%u cells", picture->nr_cells);
}

void picture_add(struct picture *picture, uint64_t start, uint64_t end, bool is_private)
{
	int *changes = picture->changes[is_private];

	changes[(start - picture->start) / picture->per_cell]++;
	changes[(end - 1 - picture->start) / picture->per_cell + 1]--;
}

void picture_finish(struct picture *picture)
{
	int shared = 0, private = 0;
	unsigned int i;

	for (i = 0; i < picture->nr_cells; i++) {
		shared += picture->changes[0][i];
		private += picture->changes[1][i];
		picture->cells[i] = (shared ? SHARED : 0) | (private ? PRIVATE : 0);
	}
}

void picture_free(struct picture *picture)
{
	free(picture->cells);
	free(picture->changes[0]);
	free(picture->changes[1]);
	free(picture->slots.at);
}

const char *picture_row_label(const struct picture *picture, unsigned int row)
{
	uint64_t offset = picture->start + row * picture->columns * picture->per_cell;
	const struct guest_memfd_slots *slots = &picture->slots;
	char number[32], address[32] = "-";
	static char text[64];
	uint64_t gpa;
	size_t i;

	snprintf(number, sizeof(number), "0x%" PRIx64, offset);
	for (i = 0; i < slots->nr && !guest_memfd_gpa(&slots->at[i], offset, &gpa); i++)
		;
	if (i < slots->nr)
		snprintf(address, sizeof(address), "0x%" PRIx64, gpa);
	if (slots->nr)
		snprintf(text, sizeof(text), "%14s%18s", number, address);
	else
		snprintf(text, sizeof(text), "%14s", number);
	return text;
}

const char *picture_heading(const struct picture *picture)
{
	return picture->slots.nr ? "        offset    guest physical" : "        offset";
}

const char *picture_scale(const struct picture *picture)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s a cell, %s a row, from 0x%" PRIx64 " to 0x%" PRIx64,
		 human_bytes(picture->per_cell), human_bytes(picture->per_cell * picture->columns),
		 picture->start, picture->end);
	return text;
}

const char *picture_slot_label(const struct picture *picture, size_t i)
{
	const struct guest_memfd_slot *slot;
	static char text[128];

	if (i >= picture->slots.nr || i > MAX_SLOT_LABELS)
		return NULL;

	slot = &picture->slots.at[i];
	if (i == MAX_SLOT_LABELS)
		snprintf(text, sizeof(text), "and %zu more slots", picture->slots.nr - i);
	else
		snprintf(text, sizeof(text), "slot %d: guest physical 0x%" PRIx64 " is offset 0x%" PRIx64
			 ", for 0x%" PRIx64, slot->number, slot->gpa, slot->offset, slot->size);
	return text;
}
