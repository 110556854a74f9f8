//! Our operators as bytes, beside Ballista's own.

use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};

use crate::engine::pit::exec::{PitExec, wrap};
use crate::engine::pit::recipe;
use crate::engine::pit::step::StepExec;
use crate::engine::session::{Session, SessionOptions};

/// How the bytes of one of our operators begin; Ballista's begin with the tag of a protobuf field.
const OURS: &[u8] = b"scorehouse\n";

/// Ballista's codec, which also knows `PitExec` and `StepExec`.
#[derive(Debug, Default)]
pub struct Codec {
    others: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(parcel) = bytes.strip_prefix(OURS) else {
            return self.others.try_decode(bytes, inputs, context, converter);
        };
        let session = Session::new(&SessionOptions::default()).map_err(wrap)?;
        let (plan, night) = recipe::unpack(parcel, &session).map_err(wrap)?;
        match (night, inputs) {
            (None, [events, spine]) => Ok(Arc::new(PitExec::new(events.clone(), spine.clone(), plan))),
            (Some(night), [states, spine, difference]) => {
                let children = [states.clone(), spine.clone(), difference.clone()];
                Ok(Arc::new(StepExec::new(children, plan, night)))
            }
            (_, inputs) => {
                let message = format!("an operator from another process came with {} inputs", inputs.len());
                Err(DataFusionError::Internal(message))
            }
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let parcel = if let Some(pit) = node.downcast_ref::<PitExec>() {
            recipe::pack(pit.plan(), None)
        } else if let Some(step) = node.downcast_ref::<StepExec>() {
            recipe::pack(step.plan(), Some(step.night()))
        } else {
            return self.others.try_encode(node, bytes, converter);
        };
        bytes.extend_from_slice(OURS);
        bytes.extend(parcel.map_err(wrap)?);
        Ok(())
    }
}
