/* ============================================================================
   >>onnx  a trained net as an ONNX model
   An ONNX file is a protobuf message: fields of a number and a value, where a value may be a
   message again. Five kinds are needed here, so they are written by hand: a model holds a
   graph, a graph its nodes, constants, inputs and outputs (onnx.proto3 of ONNX 1.8). Opset 13,
   the first whose Softmax and ReduceSum are today's; 16 of a net with a grid_sample, which no
   lower one has.
   Arrays are N,C,H,W; those of dense layers and of flatten N,K, see lsnni_onnx_read.
   ==========================================================================*/
enum { LSNNI_ONNX_OPSET = 13, LSNNI_ONNX_OPSET_GRID = 16, LSNNI_ONNX_FLOAT = 1,
       LSNNI_ONNX_INT64 = 7 };

/* ---- >>protobuf: bytes that grow ------------------------------------------------------*/
typedef struct lsnni_bytes {
    lsnn_ctx *cx;
    char *v;
    int used, room;
    lsnn_status status;
} lsnni_bytes;

static void lsnni_pb_raw(lsnni_bytes *b, const void *v, size_t count)
{
    size_t room = (size_t)b->room;
    if (b->status != LSNN_OK) return;
    if (count > (size_t)INT_MAX - (size_t)b->used)
        b->status = lsnni_fail(b->cx, LSNN_ESHAPE, "net_export_onnx: more than 2 GiB, which no "
                               "protobuf message can be");
    else if (count > room - (size_t)b->used) {
        char *larger;
        room = LSNNI_MIN(2 * room + count + 64, (size_t)INT_MAX);
        larger = (char *)lsnni_alloc_raw(b->cx, room, 1, "");
        if (!larger) b->status = LSNN_ENOMEM;
        else {
            if (b->used) memcpy(larger, b->v, (size_t)b->used);
            lsnni_free(b->cx, b->v);
            b->v = larger;
            b->room = (int)room;
        }
    }
    if (b->status != LSNN_OK) return;
    if (count) memcpy(b->v + b->used, v, count);
    b->used += (int)count;
}

/* Seven bits a byte, the lowest first; all but the last have the eighth bit.    */
static void lsnni_pb_varint(lsnni_bytes *b, uint64_t v)
{
    unsigned char c;
    do {
        c = (unsigned char)((v & 127) | (v > 127 ? 128 : 0));
        lsnni_pb_raw(b, &c, 1);
    } while (v >>= 7);
}
static void lsnni_pb_int(lsnni_bytes *b, int field, int64_t v)
{
    lsnni_pb_varint(b, (uint64_t)field << 3);
    lsnni_pb_varint(b, (uint64_t)v);
}
static void lsnni_pb_blob(lsnni_bytes *b, int field, const void *v, size_t count)
{
    lsnni_pb_varint(b, (uint64_t)field << 3 | 2);
    lsnni_pb_varint(b, count);
    lsnni_pb_raw(b, v, count);
}
static void lsnni_pb_text(lsnni_bytes *b, int field, const char *text)
{
    lsnni_pb_blob(b, field, text, strlen(text));
}
/* A message that is done: it becomes field `field` of b, and is emptied.        */
static void lsnni_pb_message(lsnni_bytes *b, int field, lsnni_bytes *inner)
{
    if (inner->status != LSNN_OK) b->status = inner->status;
    else lsnni_pb_blob(b, field, inner->v, (size_t)inner->used);
    inner->used = 0;
}

/* ---- >>graph parts ------------------------------------------------------------------------*/
enum { LSNNI_ONNX_NAME = 260 };
typedef struct lsnni_onnx {
    lsnn_ctx *cx;
    lsnn_net *net;
    lsnni_bytes graph, node, inner, innermost;    /* messages inside of messages   */
    int made;                                /* names of arrays in between    */
    int opset;
    char *flat;                              /* one a net's node: its array is N,K */
    lsnn_real *row;
} lsnni_onnx;

static void lsnni_onnx_value(lsnni_onnx *e, int field, const char *name, const int *dim, int rank)
{
    for (int i = -1; i < rank; i++) {
        if (i < 0) lsnni_pb_text(&e->innermost, 2, "N");
        else lsnni_pb_int(&e->innermost, 1, dim[i]);
        lsnni_pb_message(&e->inner, 1, &e->innermost);
    }
    lsnni_pb_int(&e->innermost, 1, LSNNI_ONNX_FLOAT);
    lsnni_pb_message(&e->innermost, 2, &e->inner);
    lsnni_pb_message(&e->inner, 1, &e->innermost);
    lsnni_pb_text(&e->node, 1, name);
    lsnni_pb_message(&e->node, 2, &e->inner);
    lsnni_pb_message(&e->graph, field, &e->node);
}

/* A constant of floats or of int64s, its numbers little-endian.                 */
static void lsnni_onnx_constant(lsnni_onnx *e, const char *name, const lsnn_real *v,
                                const int64_t *whole, const int *dim, int rank)
{
    size_t count = 1;
    unsigned char bytes[8];
    for (int i = 0; i < rank; i++) {
        lsnni_pb_int(&e->inner, 1, dim[i]);
        count *= (size_t)dim[i];
    }
    lsnni_pb_int(&e->inner, 2, v ? LSNNI_ONNX_FLOAT : LSNNI_ONNX_INT64);
    lsnni_pb_text(&e->inner, 8, name);
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = 0;
        float x = v ? (float)v[i] : 0;
        memcpy(&bits, &x, 4);
        lsnni_bytes_of(bytes, v ? bits : (uint64_t)whole[i], v ? 4 : 8);
        lsnni_pb_raw(&e->innermost, bytes, v ? 4 : 8);
    }
    lsnni_pb_message(&e->inner, 9, &e->innermost);
    lsnni_pb_message(&e->graph, 5, &e->inner);
}

/* A name that no layer has: "conv1:3".                                          */
static const char *lsnni_onnx_made(lsnni_onnx *e, int i, char name[LSNNI_ONNX_NAME])
{
    snprintf(name, LSNNI_ONNX_NAME, "%.200s:%d", e->net->node[i].name, ++e->made);
    return name;
}

/* A node of ONNX: op, what it reads, its attributes, what it writes.            */
static void lsnni_onnx_reads(lsnni_onnx *e, const char *name) { lsnni_pb_text(&e->node, 1, name); }
static void lsnni_onnx_ints(lsnni_onnx *e, const char *name, const int *v, int count)
{
    lsnni_pb_text(&e->inner, 1, name);
    for (int i = 0; i < count; i++) lsnni_pb_int(&e->inner, 8, v[i]);
    lsnni_pb_int(&e->inner, 20, 7);
    lsnni_pb_message(&e->node, 5, &e->inner);
}
static void lsnni_onnx_int(lsnni_onnx *e, const char *name, int v)
{
    lsnni_pb_text(&e->inner, 1, name);
    lsnni_pb_int(&e->inner, 3, v);
    lsnni_pb_int(&e->inner, 20, 2);
    lsnni_pb_message(&e->node, 5, &e->inner);
}
static void lsnni_onnx_float(lsnni_onnx *e, const char *name, double v)
{
    unsigned char bytes[4];
    float x = (float)v;
    uint32_t bits;
    memcpy(&bits, &x, 4);
    lsnni_bytes_of(bytes, bits, 4);
    lsnni_pb_text(&e->inner, 1, name);
    lsnni_pb_varint(&e->inner, 2 << 3 | 5);              /* four bytes        */
    lsnni_pb_raw(&e->inner, bytes, 4);
    lsnni_pb_int(&e->inner, 20, 1);
    lsnni_pb_message(&e->node, 5, &e->inner);
}
static void lsnni_onnx_writes(lsnni_onnx *e, const char *op, const char *name)
{
    lsnni_pb_text(&e->node, 2, name);
    lsnni_pb_text(&e->node, 3, name);
    lsnni_pb_text(&e->node, 4, op);
    lsnni_pb_message(&e->graph, 1, &e->node);
}

/* Ends a node: it writes a new array, whose name is name's from here on.         */
static void lsnni_onnx_next(lsnni_onnx *e, int i, const char *op, char name[LSNNI_ONNX_NAME])
{
    lsnni_onnx_writes(e, op, lsnni_onnx_made(e, i, name));
}

/* A constant of the net's node i, made here; its name.                            */
static const char *lsnni_onnx_floats(lsnni_onnx *e, int i, const lsnn_real *v, const int *dim,
                                     int rank, char name[LSNNI_ONNX_NAME])
{
    lsnni_onnx_constant(e, lsnni_onnx_made(e, i, name), v, NULL, dim, rank);
    return name;
}
static const char *lsnni_onnx_whole(lsnni_onnx *e, int i, const int64_t *v, int count,
                                    char name[LSNNI_ONNX_NAME])
{
    lsnni_onnx_constant(e, lsnni_onnx_made(e, i, name), NULL, v, &count, 1);
    return name;
}

/* x as N,c,h,w, or with h = 0 as N,c: reshaped if it is not. The -1 is N.          */
static void lsnni_onnx_shape(lsnni_onnx *e, int i, char x[LSNNI_ONNX_NAME], int rank, int c,
                             int h, int w)
{
    char shape[LSNNI_ONNX_NAME];
    int64_t to[4];
    to[0] = -1; to[1] = c; to[2] = h; to[3] = w;
    lsnni_onnx_whole(e, i, to, rank, shape);
    lsnni_onnx_reads(e, x);
    lsnni_onnx_reads(e, shape);
    lsnni_onnx_next(e, i, "Reshape", x);
}

/* The output of the net's node x for reader i, as N,K (flat) or as N,C,H,W.        */
static void lsnni_onnx_read(lsnni_onnx *e, int i, int x, int flat, char name[LSNNI_ONNX_NAME])
{
    lsnn_shape s = e->net->node[x].shape;
    snprintf(name, LSNNI_ONNX_NAME, "%s", e->net->node[x].name);
    if (e->flat[x] == flat) return;
    lsnni_onnx_shape(e, i, name, flat ? 2 : 4, flat ? lsnni_features(s) : s.c, s.h, s.w);
}

/* Parameter or buffer j of node i as a constant; its name is the net's. Shared ones are
   written by the layer that has them, which may not be in the model: so each time.        */
static const char *lsnni_onnx_param(lsnni_onnx *e, int i, int j, int buffer, const int *dim,
                                    int rank, char name[LSNNI_ONNX_NAME])
{
    const lsnni_node *v = &e->net->node[i];
    const lsnni_param *p = buffer ? &e->net->buffer[v->buffer[j]] : &e->net->param[v->param[j]];
    const lsnn_real *values = (buffer ? e->net->state : e->net->value) + p->at;
    snprintf(name, LSNNI_ONNX_NAME, "%.200s.%.50s", v->name, p->spec.name);
    lsnni_onnx_constant(e, name, values, NULL, dim ? dim : p->spec.dim,
                        dim ? rank : p->spec.rank);
    return name;
}

/* y = op(y, constant), v NULL: nothing.                                         */
static void lsnni_onnx_by(lsnni_onnx *e, int i, const char *op, const lsnn_real *v,
                          const int *dim, int rank, char y[LSNNI_ONNX_NAME])
{
    char name[LSNNI_ONNX_NAME];
    if (!v) return;
    lsnni_onnx_floats(e, i, v, dim, rank, name);
    lsnni_onnx_reads(e, y);
    lsnni_onnx_reads(e, name);
    lsnni_onnx_next(e, i, op, y);
}

static const lsnn_real *lsnni_onnx_values(const lsnni_onnx *e, int i, int j)
{
    const lsnni_node *v = &e->net->node[i];
    return j < v->plan.params ? e->net->value + e->net->param[v->param[j]].at : NULL;
}

/* The last node of a layer: its array has the layer's name.                      */
static void lsnni_onnx_done(lsnni_onnx *e, int i, const char *last)
{
    lsnni_onnx_reads(e, last);
    lsnni_onnx_writes(e, "Identity", e->net->node[i].name);
}

