/* tapefile.c - tapes from the bytes of a file, in memory of the caller's. nncore/graph/tapefile.py has the format.
 *
 * One walk over the bytes serves both calls: without memory it only checks the grammar and adds up what is needed, with
 * memory it fills. Nothing is believed before it is checked: a count must fit the bytes that are left (each element
 * takes some), a text must be UTF-8 without NUL, a shape must multiply to its count. So whatever the file claims, no
 * more than about 16 bytes of memory per byte of file are asked for, in time linear in the file.
 * What nn_tape_check promises of a tape holds for a loaded one too; that shapes suit each op is the writer's duty. */
#include <string.h>

#include "../internal.h"

typedef struct reader {
    const uint8_t *bytes;
    int64_t nbytes, at;
    char *memory; /* NULL: count only */
    int64_t used, capacity;
    int32_t status;
} reader;

typedef struct span {
    const uint8_t *begin;
    int64_t n;
} span;

/* The first fault stays: `at` then is the byte it was found at. */
static void fail(reader *r, int32_t status)
{
    if (r->status == NN_OK)
        r->status = status;
}

/* The next n bytes, or zeros after a fault, so that nobody has to ask before going on. n <= 8. */
static const uint8_t *next(reader *r, int64_t n)
{
    static const uint8_t zeros[8];
    if (r->status == NN_OK && n > r->nbytes - r->at)
        fail(r, NN_ERR_FORMAT);
    if (r->status != NN_OK)
        return zeros;
    r->at += n;
    return r->bytes + r->at - n;
}

static uint64_t read_unsigned(reader *r, int n)
{
    const uint8_t *p = next(r, n);
    uint64_t u = 0;
    for (int i = 0; i < n; i++)
        u |= (uint64_t)p[i] << 8 * i;
    return u;
}

static int32_t read_i32(reader *r) { return (int32_t)(uint32_t)read_unsigned(r, 4); }
static int64_t read_i64(reader *r) { return (int64_t)read_unsigned(r, 8); }
static double read_f64(reader *r)
{
    uint64_t u = read_unsigned(r, 8);
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* A count of elements of at least `least` bytes each, of which `most` are allowed. */
static int64_t read_count(reader *r, int width, int64_t least, int64_t most)
{
    int64_t n = (int64_t)read_unsigned(r, width);
    if (n > most || n > (r->nbytes - r->at) / least)
        fail(r, NN_ERR_FORMAT);
    return r->status == NN_OK ? n : 0;
}

/* Length of the UTF-8 character at p (n > 0 bytes left), 0 if it is none: Unicode 15, table 3-7. NUL is refused too. */
static int64_t utf8(const uint8_t *p, int64_t n)
{
    if (p[0] < 0x80)
        return p[0] != 0;
    int64_t length = p[0] >= 0xC2 && p[0] <= 0xDF ? 2 : p[0] >= 0xE0 && p[0] <= 0xEF ? 3 : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4 : 0;
    if (length == 0 || n < length)
        return 0;
    for (int64_t i = 1; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    int bad = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || /* overlong; surrogates */
              (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F);   /* overlong; past 10FFFF */
    return bad ? 0 : length;
}

static span read_span(reader *r)
{
    int64_t n = read_count(r, 2, 1, UINT16_MAX), i = 0;
    span s = {r->bytes + r->at, n};
    while (i < n) {
        int64_t length = utf8(s.begin + i, n - i);
        if (length == 0) {
            r->at += i;
            fail(r, NN_ERR_FORMAT);
            return (span){r->bytes, 0};
        }
        i += length;
    }
    r->at += n;
    return s;
}

/* Room for count elements; NULL when only counting, or when there is no room. */
static void *reserve(reader *r, int64_t count, int64_t size)
{
    int64_t at = (r->used + 7) / 8 * 8;
    r->used = at + count * size;
    if (r->memory && r->used > r->capacity)
        fail(r, NN_ERR_NOMEM);
    return r->memory && r->status == NN_OK ? r->memory + at : NULL;
}

static const char *read_text(reader *r)
{
    span s = read_span(r);
    char *text = reserve(r, s.n + 1, 1);
    if (text) {
        memcpy(text, s.begin, (size_t)s.n);
        text[s.n] = 0;
    }
    return text;
}

/* The opcode of a name in the file; a fault if this build has none. */
static int32_t read_op(reader *r, int may_be_empty)
{
    int64_t at = r->at;
    span s = read_span(r);
    if (s.n == 0 && may_be_empty)
        return -1;
    for (int32_t op = 0; op < NN_OP_COUNT_; op++)
        if (strlen(nn_op_name(op)) == (size_t)s.n && !memcmp(nn_op_name(op), s.begin, (size_t)s.n))
            return op;
    if (r->status == NN_OK)
        r->at = at;
    fail(r, NN_ERR_FORMAT);
    return -1;
}

static void read_buffer(reader *r, nn_buffer *buffer, nn_buffer_info *info)
{
    info->name = read_text(r);
    buffer->region = (int32_t)read_unsigned(r, 1);
    buffer->dtype = (int32_t)read_unsigned(r, 1);
    buffer->offset = read_i64(r);
    buffer->count = read_i64(r);
    info->rank = (int32_t)read_count(r, 1, 8, NN_MAX_DIMS);
    int64_t *size = reserve(r, info->rank, sizeof *size), product = 1;
    for (int32_t i = 0; i < info->rank; i++) {
        int64_t n = read_i64(r);
        if (n < 0 || (n > 0 && product > INT64_MAX / n)) {
            fail(r, NN_ERR_FORMAT);
            return;
        }
        product *= n;
        if (size)
            size[i] = n;
    }
    info->size = size;
    /* An external's size belongs to the run; every other shape is what its memory holds. */
    if (buffer->region != NN_EXTERNAL && product != buffer->count)
        fail(r, NN_ERR_FORMAT);
}

static void read_instr(reader *r, nn_instr *in)
{
    *in = (nn_instr){0};
    in->op = read_op(r, 0);
    int32_t fused = read_op(r, 1);
    read_span(r);        /* the layer's name, for messages in Python */
    read_unsigned(r, 1); /* outputs among the arguments, likewise */
    in->n_args = (int32_t)read_count(r, 1, 4, NN_MAX_ARGS);
    for (int32_t i = 0; i < in->n_args; i++)
        in->arg[i] = read_i32(r);
    int64_t dims = read_count(r, 1, 8, NN_MAX_DIMS);
    for (int64_t i = 0; i < dims; i++)
        in->dim[i] = read_i64(r);
    int64_t scalars = read_count(r, 1, 8, NN_MAX_SCALARS);
    for (int64_t i = 0; i < scalars; i++)
        in->scalar[i] = read_f64(r);
    read_f64(r); /* FLOP */
    /* Opcodes are private to a build: a fused activation comes by name or not at all. */
    int32_t act = nn_act_dim(in->op);
    if ((act >= 0 && in->dim[act] != -1) || (fused >= 0 && act < 0))
        fail(r, NN_ERR_FORMAT);
    else if (fused >= 0)
        in->dim[act] = fused;
}

static void read_outputs(reader *r, nn_program_tape *t)
{
    t->n_outputs = read_count(r, 4, 6, INT32_MAX);
    nn_output *outputs = reserve(r, t->n_outputs, sizeof *outputs);
    t->outputs = outputs;
    for (int64_t i = 0; i < t->n_outputs && r->status == NN_OK; i++) {
        nn_output output = {.name = read_text(r)};
        output.buffer = read_i32(r); /* apart: the order of an initialiser's calls is not defined */
        if (output.buffer < 0 || output.buffer >= t->tape.n_buffers)
            fail(r, NN_ERR_FORMAT);
        if (outputs)
            outputs[i] = output;
    }
}

static void read_tape(reader *r, nn_program_tape *t)
{
    *t = (nn_program_tape){0};
    t->name = read_text(r);
    t->tape.real = read_i32(r);
    t->tape.batch = read_i32(r);
    for (int i = 0; i < 3; i++)
        t->tape.nbytes[i] = read_i64(r);
    int64_t n = t->tape.n_buffers = read_count(r, 4, 21, INT32_MAX);
    nn_buffer *buffers = reserve(r, n, sizeof *buffers);
    nn_buffer_info *info = reserve(r, n, sizeof *info);
    for (int64_t i = 0; i < n && r->status == NN_OK; i++) {
        nn_buffer buffer = {0};
        nn_buffer_info about = {0};
        read_buffer(r, &buffer, &about);
        if (buffers && info) {
            buffers[i] = buffer;
            info[i] = about;
        }
    }
    n = t->tape.n_instrs = read_count(r, 4, 18, INT32_MAX);
    nn_instr *instrs = reserve(r, n, sizeof *instrs);
    for (int64_t i = 0; i < n && r->status == NN_OK; i++) {
        nn_instr in;
        read_instr(r, &in);
        if (instrs)
            instrs[i] = in;
    }
    t->tape.buffers = buffers;
    t->tape.instrs = instrs;
    t->info = info;
    read_outputs(r, t);
}

/* Notes come with ascending keys, so that none can be given twice. */
static const nn_note *read_notes(reader *r, int64_t n)
{
    nn_note *notes = reserve(r, n, sizeof *notes);
    span last = {r->bytes, 0};
    for (int64_t i = 0; i < n && r->status == NN_OK; i++) {
        int64_t at = r->at;
        span key = read_span(r);
        int order = memcmp(last.begin, key.begin, (size_t)(last.n < key.n ? last.n : key.n));
        if (i > 0 && (order > 0 || (order == 0 && last.n >= key.n)))
            fail(r, NN_ERR_FORMAT);
        last = key;
        if (r->status == NN_OK)
            r->at = at; /* the same bytes once more, now to keep them */
        nn_note note = {.key = read_text(r)};
        note.value = read_text(r);
        if (notes)
            notes[i] = note;
    }
    return notes;
}

/* The whole file. With memory each tape is checked as it stands there. */
static void read_program(reader *r, nn_program *program, nn_fault *fault)
{
    static const char magic[8] = {'N', 'N', 'T', 'A', 'P', 'E', '1', '\n'};
    for (int i = 0; i < 8 && r->status == NN_OK; i++)
        if (*next(r, 1) != magic[i]) {
            r->at -= r->status == NN_OK;
            fail(r, NN_ERR_FORMAT);
        }
    int64_t at = r->at;
    if (read_unsigned(r, 4) != NN_NUMERICS_ID && r->status == NN_OK) {
        r->at = at;
        fail(r, NN_ERR_FORMAT);
    }
    program->n_tapes = read_count(r, 4, 46, INT32_MAX);
    program->n_notes = read_count(r, 4, 4, INT32_MAX);
    program->notes = read_notes(r, program->n_notes);
    nn_program_tape *tapes = reserve(r, program->n_tapes, sizeof *tapes);
    program->tapes = tapes;
    for (int64_t i = 0; i < program->n_tapes && r->status == NN_OK; i++) {
        nn_program_tape tape;
        at = r->at;
        read_tape(r, &tape);
        if (tapes && r->status == NN_OK && nn_tape_check(&tape.tape, fault) != NN_OK) {
            fault->segment = i;
            r->at = at;
            fail(r, NN_ERR_FORMAT);
        }
        if (tapes)
            tapes[i] = tape;
    }
    if (r->at != r->nbytes)
        fail(r, NN_ERR_FORMAT);
}

int32_t nn_tape_load(nn_program *program, void *memory, int64_t *memory_nbytes, const uint8_t *bytes, int64_t nbytes,
                     nn_fault *fault)
{
    *fault = (nn_fault){0, -1, 0, 0, -1, 0};
    if (nbytes < 0 || nbytes > (int64_t)1 << 40 || (uintptr_t)memory % 8 || (memory && *memory_nbytes < 0))
        return fault->code = NN_ERR_ARGUMENT;
    reader r = {bytes, nbytes, 0, memory, 0, memory ? *memory_nbytes : 0, NN_OK};
    nn_program found = {0};
    read_program(&r, &found, fault);
    fault->code = r.status;
    if (r.status != NN_OK)
        fault->index = r.at;
    else if (memory)
        *program = found;
    else
        *memory_nbytes = r.used;
    return r.status;
}

const nn_program_tape *nn_program_find(const nn_program *program, const char *name)
{
    for (int64_t i = 0; i < program->n_tapes; i++)
        if (!strcmp(program->tapes[i].name, name))
            return &program->tapes[i];
    return NULL;
}

const char *nn_program_note(const nn_program *program, const char *key)
{
    for (int64_t i = 0; i < program->n_notes; i++)
        if (!strcmp(program->notes[i].key, key))
            return program->notes[i].value;
    return NULL;
}

int64_t nn_program_buffer(const nn_program_tape *tape, const char *name)
{
    for (int64_t i = 0; i < tape->tape.n_buffers; i++)
        if (!strcmp(tape->info[i].name, name))
            return i;
    return -1;
}

int64_t nn_program_output(const nn_program_tape *tape, const char *name)
{
    for (int64_t i = 0; i < tape->n_outputs; i++)
        if (!strcmp(tape->outputs[i].name, name))
            return tape->outputs[i].buffer;
    return -1;
}
