// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include <inttypes.h>
#include <string.h>

#include "canvas.h"

#define MARGIN	16u
#define CELL	16u
#define LINE	20u

static unsigned int text_width(const char *text)
{
	return strlen(text) * CANVAS_LETTER;
}

static unsigned int cells_at(const struct picture *picture)
{
	return text_width(picture_heading(picture)) + 2 * CANVAS_LETTER;
}

static void widen(struct canvas *canvas, unsigned int width)
{
	if (width + 2 * MARGIN > canvas->width)
		canvas->width = width + 2 * MARGIN;
}

/* A line of text at *@y; without painting it is measured. */
static void line(struct canvas *canvas, const char *text, unsigned int *y)
{
	if (canvas->text)
		canvas->text(canvas, MARGIN, *y, text);
	else
		widen(canvas, text_width(text));
	*y += LINE;
}

static void cells(struct canvas *canvas, const struct picture *picture, unsigned int row, unsigned int y)
{
	unsigned int first = row * picture->columns, i, nr = picture->columns, run;
	char title[64];

	if (nr > picture->nr_cells - first)
		nr = picture->nr_cells - first;
	for (i = 0; i < nr; i += run) {
		uint8_t kind = picture->cells[first + i];

		/* One box for equal cells of a row. */
		for (run = 1; i + run < nr && picture->cells[first + i + run] == kind; run++)
			;
		snprintf(title, sizeof(title), "0x%" PRIx64 ": %s",
			 picture->start + (first + i) * picture->per_cell, map_looks[kind].name);
		canvas->box(canvas, MARGIN + cells_at(picture) + i * CELL, y, run * CELL, CELL - 1, kind,
			    title);
	}
}

static void legend(struct canvas *canvas, unsigned int *y)
{
	unsigned int i, x = MARGIN;

	for (i = 0; i < NR_CELL_KINDS; i++) {
		if (canvas->box) {
			canvas->box(canvas, x, *y, CELL, CELL - 1, i, map_looks[i].name);
			canvas->text(canvas, x + CELL + CANVAS_LETTER, *y, map_looks[i].name);
		}
		x += CELL + text_width(map_looks[i].name) + 3 * CANVAS_LETTER;
	}
	widen(canvas, x);
	*y += LINE;
}

static void one(struct canvas *canvas, const struct picture *picture, unsigned int *y)
{
	const char *slot;
	unsigned int i;

	if (*picture->title)
		line(canvas, picture->title, y);
	line(canvas, picture_heading(picture), y);
	for (i = 0; i < picture->rows; i++, *y += CELL) {
		if (!canvas->box)
			continue;
		canvas->text(canvas, MARGIN, *y, picture_row_label(picture, i));
		cells(canvas, picture, i, *y);
	}
	widen(canvas, cells_at(picture) + picture->columns * CELL);

	*y += LINE / 2;
	legend(canvas, y);
	line(canvas, picture_scale(picture), y);
	for (i = 0; (slot = picture_slot_label(picture, i)); i++)
		line(canvas, slot, y);
}

void map_paint(struct canvas *canvas, const struct picture *pictures, size_t nr)
{
	unsigned int y = MARGIN;
	size_t i;

	for (i = 0; i < nr; i++, y += MARGIN)
		one(canvas, &pictures[i], &y);
	canvas->height = y;
}

/* Painted where there is nothing to paint on. */
void map_measure(struct canvas *canvas, const struct picture *pictures, size_t nr)
{
	struct canvas measured = {};

	map_paint(&measured, pictures, nr);
	canvas->width = measured.width;
	canvas->height = measured.height;
}
