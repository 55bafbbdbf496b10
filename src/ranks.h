/* ---- >>ranks: processes that train one net together -----------------------------------
   Each draws its share of every batch. What they must agree on are sums: of losses and scores,
   of batch_norm's statistics, and of the gradients. All of it enters here; who carries the
   numbers (MPI: ranks_mpi.h) is a table of functions. Without lsnn_ranks_start there is one
   rank and nothing of this is done.

   Each of these calls is collective: all ranks make it, in the same order. `begin` is ordered
   among its like only, so that a chunk of gradients may begin before or after a sum of
   statistics, as each rank's layout has it.                                  */
typedef struct lsnni_carrier {
    lsnn_status (*sum)(lsnn_ctx *cx, double *v, int count);      /* in place, over all ranks */
    lsnn_status (*most)(lsnn_ctx *cx, double *v, int count);     /* the largest      */
    lsnn_status (*tell)(lsnn_ctx *cx, void *v, int bytes, int from);   /* to all others */
    lsnn_status (*begin)(lsnn_ctx *cx, lsnn_real *v, int count); /* a sum, in the background */
    lsnn_status (*move)(lsnn_ctx *cx);       /* what has begun moves on               */
    lsnn_status (*finish)(lsnn_ctx *cx);     /* until all that has begun is there     */
    void (*end)(lsnn_ctx *cx);
} lsnni_carrier;
enum { LSNNI_CHUNKS = 64 };          /* that a block of gradients is cut into, at most    */

static int lsnni_many(const lsnn_ctx *cx) { return cx->ranks > 1 && !cx->rehearsal_; }

LSNN_API lsnn_status lsnn_ranks_sum(lsnn_ctx *cx, double *v, int count)
{
    return lsnni_many(cx) ? cx->carrier_->sum(cx, v, count) : LSNN_OK;
}

/* The first rank that failed says why to all; rank 0 logs it.                */
LSNN_API lsnn_status lsnn_ranks_agree(lsnn_ctx *cx, lsnn_status s)
{
    struct { lsnn_status status; char message[sizeof cx->message]; } why;
    double v[2];
    int from;
    if (!lsnni_many(cx)) return s;
    v[0] = s < LSNN_OK ? cx->ranks - cx->rank : 0;
    v[1] = s > LSNN_OK;
    LSNNI_TRY(cx->carrier_->most(cx, v, 2));
    if (!(v[0] > 0)) return v[1] > 0 ? LSNN_STOPPED : LSNN_OK;
    from = cx->ranks - (int)v[0];
    memset(&why, 0, sizeof why);
    why.status = s;
    memcpy(why.message, cx->message, sizeof why.message);
    LSNNI_TRY(cx->carrier_->tell(cx, &why, (int)sizeof why, from));
    if (s >= LSNN_OK) {                                  /* else it knows a reason of its own */
        cx->together_++;
        lsnni_fail(cx, why.status, "rank %d: %s", from, why.message);
        cx->together_--;
    }
    cx->agreed_ = cx->failures_;
    return why.status;
}

/* A block is cut into chunks, and summed from its end, as backward goes: a chunk begins when
   `ready` says that the last call that adds to it is over, and the chunks above it have begun. */
typedef struct lsnni_flow {
    int chunks, next;                /* still to begin: those up to `next`    */
    size_t size;                     /* numbers a chunk                       */
    int ready[2][LSNNI_CHUNKS];      /* number of a call of backward, by schedule; -1: none */
    int on;                          /* 1: this backward is the last before a step */
} lsnni_flow;

static void lsnni_flow_set(lsnni_flow *f, size_t count)
{
    size_t least = 65536;            /* below it, a message's delay counts more than its size */
    memset(f, 0, sizeof *f);
    f->size = LSNNI_MAX(least, (count + LSNNI_CHUNKS - 1) / LSNNI_CHUNKS);
    f->chunks = (int)((count + f->size - 1) / f->size);
    f->next = f->chunks - 1;
    for (int i = 0; i < LSNNI_CHUNKS; i++) f->ready[0][i] = f->ready[1][i] = -1;
}

/* Call number `call` of backward adds to numbers [at, at + count).           */
static void lsnni_flow_add(lsnni_flow *f, int schedule, int call, size_t at, size_t count)
{
    for (size_t c = at / f->size; count > 0 && c <= (at + count - 1) / f->size; c++)
        f->ready[schedule][c] = LSNNI_MAX(f->ready[schedule][c], call);
}

/* After call number `call`: begins what is ready, and lets the rest move.    */
static lsnn_status lsnni_flow_after(lsnn_ctx *cx, lsnni_flow *f, int schedule, int call,
                                    lsnn_real *block, size_t count)
{
    for (; f->next >= 0 && f->ready[schedule][f->next] <= call; f->next--) {
        size_t at = (size_t)f->next * f->size;
        LSNNI_TRY(cx->carrier_->begin(cx, block + at, (int)LSNNI_MIN(f->size, count - at)));
    }
    return cx->carrier_->move(cx);
}

#ifndef LSNN_NO_TRAIN
/* The first of `count` that rank r draws: shares differ by one at most.      */
static int lsnni_share_first(const lsnn_ctx *cx, int count, int r)
{
    int ranks = LSNNI_MAX(1, cx->ranks);
    return (int)((int64_t)count * r / ranks);
}

/* The sum over all ranks is in the block.                                    */
static lsnn_status lsnni_flow_finish(lsnn_ctx *cx, lsnni_flow *f, lsnn_real *block,
                                     size_t count)
{
    if (!lsnni_many(cx)) return LSNN_OK;
    LSNNI_TRY(lsnni_flow_after(cx, f, 0, INT_MAX, block, count));
    f->next = f->chunks - 1;
    return cx->carrier_->finish(cx);
}

/* Whether all ranks hold the same bits.                                      */
static lsnn_status lsnni_alike(lsnn_ctx *cx, uint64_t mark, const char *when)
{
    double v[4];
    if (!lsnni_many(cx)) return LSNN_OK;
    v[0] = (double)(uint32_t)mark;
    v[1] = (double)(uint32_t)(mark >> 32);
    v[2] = -v[0];
    v[3] = -v[1];
    LSNNI_TRY(cx->carrier_->most(cx, v, 4));
    if (v[0] <= -v[2] && v[1] <= -v[3]) return LSNN_OK;
    return lsnni_fail(cx, LSNN_ESTATE, "%s, the %d ranks' nets differ: give all of them the "
                      "same seed, options, data and files, and machines of one kind (or one "
                      "isa)", when, cx->ranks);
}

/* FNV-1a over words of 32 bits.                                              */
static uint64_t lsnni_mark(uint64_t mark, const void *v, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)v;
    for (uint32_t word; bytes >= sizeof word; bytes -= sizeof word, p += sizeof word) {
        memcpy(&word, p, sizeof word);
        mark = (mark ^ word) * 1099511628211u;
    }
    return mark;
}
#endif /* LSNN_NO_TRAIN */

#ifdef LSNN_USE_MPI
#include "ranks_mpi.h"
#else
LSNN_API lsnn_status lsnn_ranks_start(lsnn_ctx *cx)
{
    cx->rank = 0;
    cx->ranks = 1;
    return LSNN_OK;
}
#endif

LSNN_API void lsnn_ranks_end(lsnn_ctx *cx)
{
    if (cx->carrier_) cx->carrier_->end(cx);
    cx->carrier_ = NULL;
    cx->rank = cx->ranks = 0;
}
