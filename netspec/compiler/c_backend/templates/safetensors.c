#ifndef NET_WITHOUT_FILES
#include <stdio.h>
#include <string.h>

enum { NET_TENSORS = @COUNT, NET_LONGEST = @LONGEST, NET_COUNTED = @COUNTED,
       NET_HEADER = @LENGTH };

/* The arrays of a file of weights: their names, as JSON has them, shapes, places and sizes. */
static const struct {
    const char *name, *shape;
    int place, size;
} tensors[NET_TENSORS] = {
@TENSORS
};

/* What stands in front of the numbers in a file that is written. */
static const char *const tensors_header[] = {
@HEADER
};

/* Writes the parameters to a safetensors file, little-endian; returns 0 if that worked. */
int net_save(const net_real *parameters, const char *path)
{
    const size_t lines = sizeof tensors_header / sizeof tensors_header[0], saved = NET_SAVED;
    FILE *file = fopen(path, "wb");
    int failed = !file;
    for (int i = 0; i < 8 && !failed; i++)
        failed = putc(i < 4 ? NET_HEADER >> (8 * i) & 255 : 0, file) == EOF;
    for (size_t i = 0; i < lines && !failed; i++)
        failed = fputs(tensors_header[i], file) == EOF;
    failed = failed || fwrite(parameters, sizeof(net_real), saved, file) != saved;
    for (int i = 0; i < NET_COUNTED && !failed; i++)
        failed = putc(0, file) == EOF;
    return (file && fclose(file)) || failed;
}

/* A file whose header is read character by character: at most `left` more. */
struct text {
    FILE *file;
    long left;
};

static int next_character(struct text *text)
{
    return text->left-- > 0 ? getc(text->file) : EOF;
}

/* Returns the next character that is no blank. */
static int next_sign(struct text *text)
{
    int c = next_character(text);
    while (c == ' ' || c == '\n' || c == '\t' || c == '\r')
        c = next_character(text);
    return c;
}

/* Reads the rest of a text in quotes, as it is written; one that is too long becomes empty. */
static int read_quoted(struct text *text, char *to, int room)
{
    int at = 0, c, escaped = 0;
    while ((c = next_character(text)) != EOF && (escaped || c != '"')) {
        escaped = !escaped && c == '\\';
        if (at < room)
            to[at++] = (char)c;
    }
    to[at < room ? at : 0] = 0;
    return c == '"';
}

/* Reads a list of whole numbers, without its blanks and brackets. */
static int read_list(struct text *text, char *to, int room)
{
    int at = 0, c = next_sign(text);
    if (c != '[')
        return 0;
    while ((c = next_sign(text)) != ']') {
        if (at >= room - 1 || (c != ',' && (c < '0' || c > '9')))
            return 0;
        to[at++] = (char)c;
    }
    to[at] = 0;
    return 1;
}

/* Goes behind a value of any kind, which begins with `c`; returns what follows it. */
static int skip_value(struct text *text, int c)
{
    char unread[2];
    for (int depth = 0;; c = next_sign(text)) {
        if (c == EOF || (c == '"' && !read_quoted(text, unread, 1)))
            return EOF;
        if ((c == ',' || c == '}') && depth == 0)
            return c;
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    }
}

/* Reads the object that describes an array; returns how many bytes its numbers have, 0 if it is not what
   is needed. `start` is where the array begins. */
static int read_about(struct text *text, const char *shape, int size, long *start)
{
    char key[16], value[128];
    long end = -1;
    int width = 0, fits = 0, c = next_sign(text);
    if (c != '{')
        return 0;
    do {
        if (next_sign(text) != '"' || !read_quoted(text, key, 16) || next_sign(text) != ':')
            return 0;
        if (strcmp(key, "dtype") == 0) {
            if (next_sign(text) != '"' || !read_quoted(text, value, 16))
                return 0;
            width = strcmp(value, "F32") == 0 ? 4 : strcmp(value, "F64") == 0 ? 8 : 0;
        } else if (!read_list(text, value, 128)) {
            return 0;
        } else if (strcmp(key, "shape") == 0) {
            fits = strcmp(value, shape) == 0;
        } else if (sscanf(value, "%18ld,%18ld", start, &end) != 2) {
            return 0;
        }
        c = next_sign(text);
    } while (c == ',');
    return c == '}' && fits && *start >= 0 && end - *start == (long)size * width ? width : 0;
}

/* Reads the numbers of an array, each of 4 or 8 bytes. */
static int read_numbers(FILE *file, net_real *to, int size, int width)
{
    for (int i = 0; i < size; i++) {
        float single = 0;
        double wide = 0;
        if (fread(width == 4 ? (void *)&single : (void *)&wide, (size_t)width, 1, file) != 1)
            return 0;
        to[i] = width == 4 ? (net_real)single : (net_real)wide;
    }
    return 1;
}

/* Reads the parameters from a safetensors file that has all of them; returns 0 if that worked. If not,
   some of them may have been read. */
int net_load(net_real *parameters, const char *path)
{
    FILE *file = fopen(path, "rb");
    struct text text = {file, 8};
    char name[NET_LONGEST];
    long length = 0;
    int c, found = 0;
    if (!file)
        return 1;
    for (int i = 0; i < 8; i++) {
        c = next_character(&text);
        if (c == EOF || (i > 2 && c > 0))
            text.left = -1;
        length += i < 3 && c > 0 ? (long)c << (8 * i) : 0;
    }
    text.left = text.left < 0 ? -1 : length;
    c = next_sign(&text);
    while (c == '{' || c == ',') {
        int i = 0, width;
        long start = 0, here;
        if (next_sign(&text) != '"' || !read_quoted(&text, name, NET_LONGEST)
            || next_sign(&text) != ':')
            break;
        while (i < NET_TENSORS && strcmp(tensors[i].name, name) != 0)
            i++;
        if (i == NET_TENSORS) {
            c = skip_value(&text, next_sign(&text));
            continue;
        }
        width = read_about(&text, tensors[i].shape, tensors[i].size, &start);
        here = ftell(file);
        if (width == 0 || fseek(file, 8 + length + start, SEEK_SET) != 0
            || !read_numbers(file, parameters + tensors[i].place, tensors[i].size, width)
            || fseek(file, here, SEEK_SET) != 0)
            break;
        found++;
        c = next_sign(&text);
    }
    return fclose(file) || c != '}' || found != NET_TENSORS;
}
#endif
