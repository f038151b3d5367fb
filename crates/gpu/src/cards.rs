//! The graphics cards of this machine.

use std::sync::OnceLock;

use burn_cubecl::cubecl::Runtime;
use burn_cubecl::cubecl::cuda::{CudaDevice, CudaRuntime};
use burn_cubecl::cubecl::wgpu::{AutoGraphicsApi, GraphicsApi as _, WgpuDevice, WgpuRuntime};
use foretell_neural::{Accelerator, Device, DeviceFailed, Engine, Examples, Loss, Plan, Trained};

use crate::engine::Card;

/// Trains networks on the first card of its kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct GraphicsCards;

impl GraphicsCards {
    /// What a card answers to windows: to compare it with the processor, which computes
    /// every forecast.
    ///
    /// # Errors
    /// As [`Accelerator::engine`].
    pub fn answers(
        &self,
        device: Device,
        network: &Trained,
        windows: Vec<f32>,
    ) -> Result<Vec<f32>, DeviceFailed> {
        let shape = network.architecture();
        let len = windows.len() / (shape.steps * shape.inputs);
        let targets = vec![0.0; len * shape.outputs()];
        let (asked, none) = (Examples { inputs: windows, targets, len }, Examples::default());
        let plan = nothing();
        match device {
            Device::Cpu => Ok(network.answers(asked.inputs)),
            Device::Cuda => {
                Card::<CudaRuntime>::new(cuda()?, network, &plan, &asked, &none)?.answers()
            }
            Device::Wgpu => {
                Card::<WgpuRuntime>::new(wgpu()?, network, &plan, &asked, &none)?.answers()
            }
        }
    }
}

/// A plan of no training.
fn nothing() -> Plan {
    Plan {
        loss: Loss::Squared,
        epochs: 0,
        batch: 1,
        learning_rate: 0.0,
        weight_decay: 0.0,
        clip: 0.0,
        dropout: 0.0,
        shuffle: false,
        patience: 0,
        plateau: 0,
        plateau_factor: 1.0,
        lowest_rate: 0.0,
        least_gain: 0.0,
        seed: 0,
        threads: 1,
    }
}

impl Accelerator for GraphicsCards {
    fn engine<'a>(
        &self,
        device: Device,
        start: &Trained,
        plan: &Plan,
        train: &'a Examples,
        validation: &'a Examples,
    ) -> Result<Box<dyn Engine + 'a>, DeviceFailed> {
        match device {
            Device::Cpu => Err(DeviceFailed::new("the processor is no graphics card")),
            Device::Cuda => {
                let card = cuda()?;
                Ok(Box::new(Card::<CudaRuntime>::new(card, start, plan, train, validation)?))
            }
            Device::Wgpu => {
                let card = wgpu()?;
                Ok(Box::new(Card::<WgpuRuntime>::new(card, start, plan, train, validation)?))
            }
        }
    }
}

/// The first NVIDIA card. Nothing of CUDA is linked: driver and compiler are looked for here.
fn cuda() -> Result<CudaDevice, DeviceFailed> {
    let refused = |found: &str, remedy: &str| {
        Err(DeviceFailed::new(format!("no CUDA device ({found}): {remedy}")))
    };
    #[allow(unsafe_code, reason = "loads the library of the system's driver, as its use will")]
    let (driver, compiler) = unsafe {
        (cudarc::driver::sys::is_culib_present(), cudarc::nvrtc::sys::is_culib_present())
    };
    let other = "or train with `device = \"wgpu\"` or on the processor";
    if !driver {
        let remedy = format!("install NVIDIA's driver, {other}");
        return refused("libcuda is not installed", &remedy);
    }
    if !compiler {
        let remedy = format!("install NVIDIA's CUDA toolkit, {other}");
        return refused("libnvrtc is not installed", &remedy);
    }
    if cudarc::driver::CudaContext::device_count().unwrap_or(0) == 0 {
        let remedy = format!("look at what `nvidia-smi` says, {other}");
        return refused("the driver has no card", &remedy);
    }
    Ok(CudaDevice::default())
}

/// The fastest card that Vulkan, Metal or Direct3D has; a software one where it is alone.
fn wgpu() -> Result<WgpuDevice, DeviceFailed> {
    // Asked once: the drivers that are looked at talk to standard error.
    static ANY: OnceLock<bool> = OnceLock::new();
    let any = || !WgpuRuntime::enumerate_all_devices(&AutoGraphicsApi::backend()).is_empty();
    if !ANY.get_or_init(any) {
        return Err(DeviceFailed::new(
            "no graphics device (no Vulkan, Metal or Direct3D adapter): install the card's \
             driver, or a software one (Debian: `apt-get install mesa-vulkan-drivers \
             libvulkan1`), or train on the processor",
        ));
    }
    Ok(WgpuDevice::default())
}
