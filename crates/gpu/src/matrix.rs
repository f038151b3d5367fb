//! Matrices on a device: what Burn does not do the way it is needed here.

use burn_cubecl::kernel::matmul::init_matmul_output;
use burn_cubecl::{CubeBackend, CubeRuntime};
use burn_tensor::activation::{relu, sigmoid, tanh};
use burn_tensor::{DType, Tensor, TensorData, TensorPrimitive};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_tiling::launch_ref;
use cubek::matmul::routines::BlueprintStrategy;
use cubek::matmul::routines::simple_unit::SimpleUnitAlgorithm;
use cubek::std::InputBinding;
use foretell_neural::{Activation, DeviceFailed};

/// Tensors on a device, in 32 bits.
pub(crate) type On<R> = CubeBackend<R, f32, i32, u32>;

/// A matrix on a device, row after row.
pub(crate) type Matrix<R> = Tensor<On<R>, 2>;

/// The product of two matrices, all of it in 32 bits.
///
/// Burn's own product takes tensor cores where a card has them, and those round 32-bit
/// factors to 10 bits: three digits, where the processor keeps seven.
pub(crate) fn product<R: CubeRuntime>(a: Matrix<R>, b: Matrix<R>) -> Matrix<R> {
    let (a, b) = (a.into_primitive().tensor(), b.into_primitive().tensor());
    let out = init_matmul_output(&a, &b, DType::F32);
    let kind = || DType::F32.into();
    let globals = MatmulGlobalElems { lhs: kind(), rhs: kind(), out: kind() };
    let client = out.client.clone();
    // Named, not chosen at run time: each kernel that could be chosen costs time to compile.
    launch_ref(
        &client,
        InputBinding::new(a.binding(), kind()),
        InputBinding::new(b.binding(), kind()),
        out.clone().binding(),
        &BlueprintStrategy::<(), SimpleUnitAlgorithm>::default(),
        &mut MatmulElems::from_globals(&globals),
    )
    .expect("every device has the kernel without tensor cores");
    Tensor::from_primitive(TensorPrimitive::Float(out))
}

/// Some rows of a matrix.
pub(crate) fn rows<R: CubeRuntime>(of: &Matrix<R>, first: usize, count: usize) -> Matrix<R> {
    let columns = of.dims()[1];
    of.clone().slice([first..first + count, 0..columns])
}

/// One of the blocks of equally many columns that stand side by side.
pub(crate) fn block<R: CubeRuntime>(of: &Matrix<R>, number: usize, width: usize) -> Matrix<R> {
    let rows = of.dims()[0];
    of.clone().slice([0..rows, number * width..(number + 1) * width])
}

/// The logistic function.
pub(crate) fn logistic<R: CubeRuntime>(x: Matrix<R>) -> Matrix<R> {
    sigmoid(x)
}

/// An activation.
pub(crate) fn forward<R: CubeRuntime>(activation: Activation, x: Matrix<R>) -> Matrix<R> {
    match activation {
        Activation::Tanh => tanh(x),
        Activation::Relu => relu(x),
    }
}

/// The slope of an activation, from its value.
pub(crate) fn slope<R: CubeRuntime>(activation: Activation, y: &Matrix<R>) -> Matrix<R> {
    match activation {
        Activation::Tanh => one_minus(y.clone().square()),
        // The value is not below zero: its sign is 0 or 1.
        Activation::Relu => y.clone().sign(),
    }
}

/// `1 - x`.
pub(crate) fn one_minus<R: CubeRuntime>(x: Matrix<R>) -> Matrix<R> {
    x.neg().add_scalar(1.0)
}

/// The slope of the logistic function, from its value.
pub(crate) fn logistic_slope<R: CubeRuntime>(y: &Matrix<R>) -> Matrix<R> {
    y.clone() * one_minus(y.clone())
}

/// A matrix of numbers of this machine.
pub(crate) fn upload<R: CubeRuntime>(
    values: Vec<f32>,
    shape: [usize; 2],
    device: &R::Device,
) -> Matrix<R> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The numbers of a tensor.
///
/// # Errors
/// When the device failed since it was last asked.
pub(crate) fn download<R: CubeRuntime, const D: usize>(
    tensor: Tensor<On<R>, D>,
) -> Result<Vec<f32>, DeviceFailed> {
    let failed = |why: String| {
        DeviceFailed::new(format!(
            "the device failed ({why}): it may be out of memory, give a smaller `batch` or \
             fewer `units`"
        ))
    };
    let data = tensor.try_into_data().map_err(|why| failed(format!("{why:?}")))?;
    data.into_vec::<f32>().map_err(|why| failed(format!("{why:?}")))
}
