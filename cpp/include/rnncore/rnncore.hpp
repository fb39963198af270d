// Everything a program needs: #include <rnncore/rnncore.hpp>
#pragma once

#include "rnncore/cell.hpp"
#include "rnncore/context.hpp"
#include "rnncore/error.hpp"
#include "rnncore/explain.hpp"
#include "rnncore/labelling.hpp"
#include "rnncore/linalg.hpp"
#include "rnncore/model.hpp"
#include "rnncore/ops.hpp"
#include "rnncore/optim.hpp"
#include "rnncore/random.hpp"
#include "rnncore/recurrent.hpp"
#include "rnncore/safetensors.hpp"
#include "rnncore/tensor.hpp"
#include "rnncore/text.hpp"
#include "rnncore/vocabulary.hpp"
