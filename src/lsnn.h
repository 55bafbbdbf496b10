#include "manual.h"
#include "api.h"
#include "core.h"

#include "kernels.h"

#if defined(LSNN_IMPLEMENTATION) && !defined(LSNNI_BODY)
#define LSNNI_BODY

#include "isa.h"

#include "room.h"
#include "gemm.h"
#include "window.h"
#include "rows.h"
#include "blocks.h"
#include "ops/conv2d.h"
#include "ops/local2d.h"
#include "ops/dense.h"
#include "ops/activations.h"
#include "ops/softmax.h"
#include "ops/pool.h"
#include "ops/dropout.h"
#include "ops/batch_norm.h"
#include "ops/scale.h"
#include "ops/join.h"
#include "ops/losses.h"
#include "ops/smooth.h"
#include "net_types.h"
#include "adapters.h"
#include "net.h"
#include "plan.h"
#include "run.h"
#include "files.h"
#include "graph.h"
#include "train.h"

#include "data.h"
#include "pictures.h"
#include "info.h"

#ifdef LSNNI_CALM
#  pragma GCC pop_options
#endif
#endif /* LSNNI_BODY */
#include "licence.h"
