#include "rnncore/linalg.hpp"

#include <Eigen/QR>
#include <algorithm>

namespace rnncore {

Tensor orthogonal(std::int64_t rows, std::int64_t columns, Generator& generator) {
  if (rows < 1 || columns < 1)
    throw_argument("orthogonal", "shape", "at least 1 row and 1 column", to_string(Shape{rows, columns}));
  using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const std::int64_t tall = std::max(rows, columns), narrow = std::min(rows, columns);
  Tensor draws = Tensor::empty({tall, narrow}, DType::float64);
  generator.normal_(draws, 0.0, 1.0);
  const Eigen::Map<const RowMajor> normal(draws.data<double>(), tall, narrow);
  const Eigen::HouseholderQR<Eigen::MatrixXd> qr(normal);
  Eigen::MatrixXd q = qr.householderQ() * Eigen::MatrixXd::Identity(tall, narrow);
  for (std::int64_t i = 0; i < narrow; ++i)
    if (qr.matrixQR()(i, i) < 0) q.col(i) *= -1.0;
  Tensor out = Tensor::empty({rows, columns}, DType::float64);
  Eigen::Map<RowMajor> result(out.mutable_data<double>(), rows, columns);
  if (rows >= columns)
    result = q;
  else
    result = q.transpose();
  return out;
}

}  // namespace rnncore
